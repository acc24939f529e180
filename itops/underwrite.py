"""From a submission and its tables to a quote, stored for good, and computed again at any time."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any
from uuid import UUID

from core.errors import Conflict, InvalidInput, NotFound
from core.events import QuoteIssued
from core.ids import new_id
from itops import repository
from itops.book import PARTS, Book, read_book
from itops.cmdb import as_csv, renamed
from itops.fleet import Fleet, read_fleet
from itops.incident import IncidentTable, read_incidents
from itops.inputs import canonical_inputs, hash_inputs, read_inputs
from itops.priors import Priors, read_priors
from itops.quote import MODEL_VERSION, Quote, make_quote
from itops.repository import StoredQuote
from itops.shown import plain
from itops.submission import Submission, read_submission, submission_from
from store import outbox
from store.pool import AsyncConnection


class UnreadableFile(InvalidInput):
    """A file cannot be read."""


class UnknownQuote(NotFound):
    """There is no quote of this id."""


class OtherModel(Conflict):
    """The quote was made by another version of the model; run that version to compute it again."""


class QuoteDiffers(Conflict):
    """A quote computed again from its stored inputs differs from what was stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """A quote and the inputs it was made from."""

    quote: Quote
    inputs: Mapping[str, Any]  #: canonical; enough to compute the quote again

    def result(self) -> dict[str, Any]:
        """What is shown and stored."""
        return plain(self.quote)


def load_priors() -> tuple[Priors, str]:
    """The priors that ship with this version, and their text."""
    text = (resources.files("itops") / "data" / "priors.json").read_text(encoding="utf-8")
    return read_priors(text), text


def load_book() -> tuple[Book, str]:
    """The book that ships with this version, and its text."""
    folder = resources.files("itops") / "data"
    text = json.dumps({name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in PARTS})
    return read_book(text), text


def price(submission: Submission, fleet_csv: str, incidents_csv: str) -> Priced:
    """Prices a submission with its tables given as CSV text; raises BadTable, BadTerms, NothingInForce."""
    book, book_text = load_book()
    fleet = read_fleet(fleet_csv, known_classes=book.priors.classes())
    incidents = read_incidents(incidents_csv, fleet=fleet, time_zone=submission.time_zone)
    return _price(submission, fleet, incidents, book, book_text)


def price_request(raw: Mapping[str, Any], fleet_csv: str, incidents_csv: str) -> Priced:
    """Prices a decoded submission with its tables, as a request carries them.

    A second of processor time for a large fleet: call it from a thread or a worker process, not in an event loop.
    Raises BadSubmission (also NoExposureWindow, NoAsOfDate), BadTable, BadTerms, NothingInForce.
    """
    book, _ = load_book()
    return price(submission_from(raw, known_classes=book.priors.classes()), fleet_csv, incidents_csv)


def price_files(path: Path) -> Priced:
    """Prices a submission file; its tables are looked up beside it. Raises UnreadableFile and as price_request."""
    book, _ = load_book()
    submission = read_submission(_read(path), known_classes=book.priors.classes())
    files = {"fleet": submission.fleet_file, "incidents": submission.incidents_file}
    texts = {}
    for field, name in files.items():
        if not name:
            raise InvalidInput(f"submission: {field}: names no CSV file")
        texts[field] = _table(path.parent / name, field)
    return price(submission, texts["fleet"], texts["incidents"])


def _table(path: Path, field: str) -> str:
    """A table as CSV text with the columns of docs/methods/itops.md, whatever it was exported by."""
    return as_csv(path, field) if path.suffix.lower() == ".parquet" else renamed(_read(path), field)


def price_inputs(inputs: Mapping[str, Any]) -> Priced:
    """Prices canonical inputs again, with the book that is among them."""
    book_text = json.dumps(inputs["book"])
    book = read_book(book_text)
    submission, fleet, incidents = read_inputs(inputs, known_classes=book.priors.classes())
    return _price(submission, fleet, incidents, book, book_text)


async def issue_quote(conn: AsyncConnection, priced: Priced, *, tenant_id: UUID, now: datetime) -> StoredQuote:
    """Stores the quote and tells it, in one transaction; the same inputs under the same model give the stored one."""
    quote = priced.quote
    quote_id = new_id()
    async with conn.transaction():
        is_new = await repository.insert_quote(
            conn,
            quote_id=quote_id,
            tenant_id=tenant_id,
            inputs_sha256=quote.inputs_sha256,
            inputs=priced.inputs,
            result=priced.result(),
            as_of=quote.as_of,
            exposure_from=quote.exposure_from,
            exposure_to=quote.exposure_to,
            model_version=quote.model_version,
            premium=quote.premium.amount,
            currency=quote.premium.currency,
            issued_at=now,
        )
        if is_new:
            await outbox.publish(
                conn, QuoteIssued(quote_id=quote_id), ordering_key=f"quote:{quote_id}", tenant_id=tenant_id
            )
        stored = await repository.find_quote_by_inputs(conn, tenant_id, quote.inputs_sha256, quote.model_version)
    assert stored is not None  # inserted above, or the conflict that kept it out
    return stored


async def rerun_quote(conn: AsyncConnection, quote_id: UUID) -> StoredQuote:
    """Computes a stored quote again from its inputs; the stored one, if it comes out the same to the cent.

    Raises UnknownQuote, OtherModel, QuoteDiffers.
    """
    stored = await repository.find_quote(conn, quote_id)
    if stored is None:
        raise UnknownQuote(quote_id=str(quote_id))
    priced_again(stored.submission, stored.result, stored.inputs_sha256, stored.model_version, quote_id=str(quote_id))
    return stored


def priced_again(
    inputs: Mapping[str, Any], result: Mapping[str, Any], inputs_sha256: str, model_version: str, *, quote_id: str
) -> Priced:
    """A stored quote computed again, the same to the cent. Raises OtherModel, QuoteDiffers."""
    if model_version != MODEL_VERSION:
        raise OtherModel(quote_id=quote_id, made_by=model_version, this_is=MODEL_VERSION)
    again = price_inputs(inputs)
    if again.result() != result or again.quote.inputs_sha256 != inputs_sha256:
        raise QuoteDiffers(quote_id=quote_id, stored=str(result["premium"]), again=str(again.quote.premium.amount))
    return again


def _price(submission: Submission, fleet: Fleet, incidents: IncidentTable, book: Book, book_text: str) -> Priced:
    inputs = canonical_inputs(submission, fleet, incidents, book_text)
    return Priced(quote=make_quote(submission, fleet, incidents, book, hash_inputs(inputs)), inputs=inputs)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"{path} is not UTF-8 text: byte {error.start} cannot be read") from error
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror or error}") from error
