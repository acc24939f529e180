"""The book of a version: priors, shocks, tariff, rules, alarms and questions, as they stood when a quote was made."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from itops.priors import BadPriors, Priors, read_priors

#: Its parts, each a file of itops/data of this name.
PARTS = ("priors", "shocks", "tariff", "rules", "alarms", "questionnaire")


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """What is believed and agreed beside the insured's own record. Numbers may be texts of digits: read with float."""

    priors: Priors
    shocks: Mapping[str, Any]
    tariff: Mapping[str, Any]
    rules: Mapping[str, Any]
    alarms: Mapping[str, Any]
    questionnaire: Mapping[str, Any]

    def versions(self) -> dict[str, str]:
        """The version of each part."""
        return {"priors": self.priors.version} | {
            name: str(getattr(self, name)["version"]) for name in PARTS if name != "priors"
        }


def read_book(text: str) -> Book:
    """The book from JSON with one member for each of PARTS. Raises BadPriors."""
    raw = json.loads(text)
    missing = [name for name in PARTS if name not in raw]
    if missing:
        raise BadPriors(f"The book lacks {', '.join(missing)}")
    return Book(
        priors=read_priors(json.dumps(raw["priors"])),
        **{name: raw[name] for name in PARTS if name != "priors"},
    )
