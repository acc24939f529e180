"""From a submission and its tables to a quote, stored for good."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from core.errors import InvalidInput
from itops.fleet import read_fleet
from itops.incident import read_incidents
from itops.inputs import canonical_inputs, hash_inputs
from itops.priors import Priors, read_priors
from itops.quote import Quote, make_quote, plain
from itops.submission import Submission, read_submission


class UnreadableFile(InvalidInput):
    """A file cannot be read."""


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


def price(submission: Submission, fleet_csv: str, incidents_csv: str) -> Priced:
    """Prices a submission with its tables given as CSV text; raises BadTable, BadTerms, NothingInForce."""
    priors, priors_text = load_priors()
    fleet = read_fleet(fleet_csv, known_classes=priors.classes())
    incidents = read_incidents(incidents_csv, fleet=fleet, time_zone=submission.time_zone)
    inputs = canonical_inputs(submission, fleet, incidents, priors_text)
    return Priced(quote=make_quote(submission, fleet, incidents, priors, hash_inputs(inputs)), inputs=inputs)


def price_files(path: Path) -> Priced:
    """Prices a submission file; its tables are looked up beside it.

    Raises UnreadableFile, BadSubmission (also NoExposureWindow, NoAsOfDate), BadTable, BadTerms, NothingInForce.
    """
    priors, _ = load_priors()
    submission = read_submission(_read(path), known_classes=priors.classes())
    files = {"fleet": submission.fleet_file, "incidents": submission.incidents_file}
    texts = {}
    for field, name in files.items():
        if not name:
            raise InvalidInput(f"submission: {field}: names no CSV file")
        texts[field] = _read(path.parent / name)
    return price(submission, texts["fleet"], texts["incidents"])


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"{path} is not UTF-8 text: byte {error.start} cannot be read") from error
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror or error}") from error
