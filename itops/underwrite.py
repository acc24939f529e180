"""From a submission and its tables to a quote, and the same quote computed again at any time; no database."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

from core.errors import Conflict, InvalidInput
from itops.book import PARTS, Book, read_book
from itops.cmdb import as_csv, renamed
from itops.fit_use import FitUse, problems_of
from itops.fleet import Fleet, read_fleet
from itops.incident import IncidentTable, read_incidents
from itops.inputs import UNNAMED_MODEL, canonical_inputs, hash_inputs, read_inputs
from itops.priors import Priors, read_priors
from itops.quote import MODEL_VERSION, SUPPORTED, Quote, make_quote
from itops.shown import plain
from itops.submission import BadSubmission, Submission, read_submission, submission_from


class UnreadableFile(InvalidInput):
    """A file cannot be read."""


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
    """Prices a submission with tables as CSV text; raises BadTable, BadSubmission, BadTerms, NothingInForce."""
    book, book_text = load_book()
    fleet = read_fleet(fleet_csv, known_classes=book.priors.classes())
    incidents = read_incidents(incidents_csv, fleet=fleet, time_zone=submission.time_zone)
    # A site that is spelled otherwise than in the table would lose its floods and storms without a word.
    stands = {asset.site for asset in fleet.assets}
    lost = [site.site for site in submission.sites if site.site not in stands]
    if lost:
        raise BadSubmission([("sites", f"{name!r} has no device of the fleet table") for name in lost])
    held = {*fleet.classes(), None}
    submission = replace(
        submission, fits=tuple(use for use in submission.fits if use.source != "store" or use.device_class in held)
    )
    return _price(submission, fleet, incidents, book, book_text)


def price_request(raw: Mapping[str, Any], fleet_csv: str, incidents_csv: str, stored: Sequence[FitUse] = ()) -> Priced:
    """Prices a decoded submission with its tables, as a request carries them, and with the tenant's `stored` fits.

    A second of processor time for a large fleet: call it from a thread or a worker process, not in an event loop.
    Raises BadSubmission (also NoExposureWindow, NoAsOfDate), BadTable, BadTerms, NothingInForce.
    """
    book, _ = load_book()
    submission = submission_from(raw, known_classes=book.priors.classes())
    return price(
        with_fits(submission, [*submission.fits, *_wanted(submission, stored)], book), fleet_csv, incidents_csv
    )


def _wanted(submission: Submission, stored: Sequence[FitUse]) -> list[FitUse]:
    """The store's fits for which the submission names none of its own, known on its as-of day."""
    named = {(use.kind, use.device_class) for use in submission.fits}
    kinds = {use.kind for use in submission.fits if use.device_class is None}
    out = []
    for use in stored:
        late = problems_of([use], known_classes=[use.device_class or ""], as_of=submission.as_of)
        if (use.kind, use.device_class) not in named and use.kind not in kinds and not late:
            out.append(use)
    return out


def price_files(path: Path, stored: Sequence[FitUse] = ()) -> Priced:
    """Prices a submission file; tables and fits are looked up beside it, further fits come from the tenant's store.

    Raises UnreadableFile and as price_request.
    """
    book, _ = load_book()
    submission = read_submission(_read(path), known_classes=book.priors.classes())
    files = {"fleet": submission.fleet_file, "incidents": submission.incidents_file}
    texts = {}
    for field, name in files.items():
        if not name:
            raise InvalidInput(f"submission: {field}: names no CSV file")
        texts[field] = _table(path.parent / name, field)
    submission = _with_files(submission, path.parent, book)
    submission = with_fits(submission, [*submission.fits, *_wanted(submission, stored)], book)
    return price(submission, texts["fleet"], texts["incidents"])


def as_of_in(path: Path) -> date | None:
    """The as-of day that a submission file says; None where it says none that can be read."""
    try:
        raw = json.loads(_read(path))
        return date.fromisoformat(str(raw["as_of"]))
    except (ValueError, KeyError, TypeError):
        return None


def _with_files(submission: Submission, folder: Path, book: Book) -> Submission:
    """The submission with the documents of the fits that it names by file. Raises UnreadableFile, BadSubmission."""
    uses = []
    for index, use in enumerate(submission.fits):
        if use.document is None and use.file is not None:
            text = _read(folder / use.file)
            try:
                document = json.loads(text)
            except ValueError as error:
                raise BadSubmission([(f"fits.{use.kind}.{index}.file", f"{use.file} is not JSON: {error}")]) from error
            if not isinstance(document, dict):
                raise BadSubmission([(f"fits.{use.kind}.{index}.file", f"{use.file} does not hold a fit")])
            use = replace(use, document=document)
        uses.append(use)
    return with_fits(submission, uses, book)


def with_fits(submission: Submission, uses: Sequence[FitUse], book: Book) -> Submission:
    """The submission standing on these fits. Raises BadSubmission where one cannot be used."""
    problems = problems_of(uses, known_classes=book.priors.classes(), as_of=submission.as_of)
    problems += [
        (f"fits.{use.kind}", f"{use.file} is a file; only `tocsin quote` reads files: send the document")
        for use in uses
        if use.document is None and use.file
    ]
    if problems:
        raise BadSubmission(problems)
    return replace(submission, fits=tuple(uses))


def _table(path: Path, field: str) -> str:
    """A table as CSV text with the columns of docs/methods/itops.md, whatever it was exported by."""
    return as_csv(path, field) if path.suffix.lower() == ".parquet" else renamed(_read(path), field)


def price_inputs(inputs: Mapping[str, Any]) -> Priced:
    """Prices canonical inputs again, with the book that is among them."""
    book_text = json.dumps(inputs["book"])
    book = read_book(book_text)
    submission, fleet, incidents = read_inputs(inputs, known_classes=book.priors.classes())
    return _price(submission, fleet, incidents, book, book_text, str(inputs.get("model", UNNAMED_MODEL)))


def priced_again(
    inputs: Mapping[str, Any], result: Mapping[str, Any], inputs_sha256: str, model_version: str, *, quote_id: str
) -> Priced:
    """A stored quote computed again by the model that made it, the same to the cent.

    Figures beside money may differ in their ninth decimal: the order in which an array is added moves no cent.
    Raises OtherModel, QuoteDiffers.
    """
    if model_version not in SUPPORTED:
        raise OtherModel(quote_id=quote_id, made_by=model_version, this_is=MODEL_VERSION)
    again = price_inputs(inputs)
    if not same(again.result(), result) or again.quote.inputs_sha256 != inputs_sha256:
        raise QuoteDiffers(quote_id=quote_id, stored=str(result["premium"]), again=str(again.quote.premium.amount))
    return again


def same(a: Any, b: Any) -> bool:
    """Whether two results say the same: words and whole numbers alike, figures to 2e-9 or thirteen digits."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) or isinstance(b, float):
        if a is None or b is None or isinstance(a, str) or isinstance(b, str):
            return False
        return bool(abs(a - b) <= max(2e-9, 1e-13 * abs(a)))
    return bool(a == b)


def _price(
    submission: Submission,
    fleet: Fleet,
    incidents: IncidentTable,
    book: Book,
    book_text: str,
    model_version: str = MODEL_VERSION,
) -> Priced:
    inputs = canonical_inputs(submission, fleet, incidents, book_text, model_version)
    quote = make_quote(submission, fleet, incidents, book, hash_inputs(inputs), model_version)
    return Priced(quote=quote, inputs=inputs)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"{path} is not UTF-8 text: byte {error.start} cannot be read") from error
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror or error}") from error
