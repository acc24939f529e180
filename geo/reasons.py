"""Why a loss is unknown: English for files and commands, and a code with its facts for whoever speaks other languages.

A reason is made here from its template and read back here from its text, so that stored results keep plain words and
the console's catalogue translates by code.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

#: code -> English with {facts}. The codes are keys of the console's catalogues: losses.reason.CODE.
TEMPLATES: Mapping[str, str] = {
    "bi_no_curve": "no published curve for business interruption",
    "no_place": "no coordinates",
    "outside_grid": "outside the grid of the hazard",
    "no_data": "the hazard's grid has no value there",
    "no_flood_country": "no flood curve for country {country}",
    "no_flood_occupancy": "no flood curve for occupancy {occupancy}",
    "no_flood_sector": "no flood curve for {sector} in {continent}",
    "no_other_structures": "no published flood curve for other structures in {curves}",
    "no_hazus_occupancy": "{curves} needs a HAZUS occupancy, and OED occupancy {occupancy} is none of them",
    "no_first_floor": "{curves} needs the height of the first floor: the book has none, and none is declared",
    "no_storeys": "{curves} needs the number of storeys: the book has none, and none is declared",
    "no_curve_of_set": "no {curves} curve for {occupancy} ({part})",
    "shake_buildings_only": "no published curve for contents, other structures and business interruption under shaking",
    "no_fragility": "no fragility for construction {construction}",
    "no_intensity": "the footprint says where the hazard is and not how strong: the loss is unknown",
    "no_files": "the book was imported without its files: import it again, and its losses can be computed",
}


@dataclass(frozen=True)
class Reason:
    """A reason as code and facts."""

    code: str
    facts: Mapping[str, str]


def tell(code: str, **facts: object) -> str:
    """The English text of a reason."""
    return TEMPLATES[code].format(**facts)


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    found = []
    for code, template in TEMPLATES.items():
        parts = re.split(r"\{(\w+)\}", template)
        text = "".join(re.escape(p) if i % 2 == 0 else f"(?P<{p}>.+?)" for i, p in enumerate(parts))
        found.append((code, re.compile(text)))
    return tuple(found)


def read(text: str) -> Reason | None:
    """The reason that a text is; None for one that is not made here (a fault of a file, told in its own words)."""
    for code, pattern in _patterns():
        if match := pattern.fullmatch(text):
            return Reason(code, match.groupdict())
    return None
