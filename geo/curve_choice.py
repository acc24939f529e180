"""Which damage curve an OED location takes for an intensity, and the reason where there is none.

Only published curves are taken, and only for what they were made for. What has none is unknown, with its insured value,
and never counted as undamaged. Sources and checks: docs/methods/loss.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geo import flood_choice, shakemap, vulnerability
from geo.flood_choice import DEFAULT, Buildings, FloodChoice, uses_first_floor
from geo.loss import CurveSet
from geo.point_files import load_flood_curves
from geo.reasons import tell
from geo.terms import IntArray

#: Standard deviation of the log odds by which a curve may be wrong for a whole event: assumptions.
CURVE_SIGMA = {"m": 0.5, "m/s": 1.0, "g": 0.5, "damage_ratio": 0.0}

#: (name, (intensities, ratios)) of a curve, or the reason why there is none.
Found = tuple[str, tuple[Any, Any]] | str

_BI = tell("bi_no_curve")
_EBERENZ = {
    "caribbean-mexico": "AG BS BZ BM CV CU DM DO HN JM KN LC MX MS NI PR TC TT VC VG VI BB HT GD GP MQ AI KY CR GT SV "
    "PA CO VE",
    "north-america": "US CA",
    "north-indian": "BD IN LK MM OM YE PK",
    "oceania": "AU FJ FM GU NC PG PF SB TO VU WS NZ",
    "south-indian": "MG MZ",
    "south-east-asia": "KH MY TH VN ID LA",
    "philippines": "PH",
    "china": "CN",
    "north-west-pacific": "HK JP KR MO TW",
}
_REGION = {code: region for region, codes in _EBERENZ.items() for code in codes.split()}
_CONTINENTS = {
    "europe": "AD AL AT BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT LU LV MC MD "
    "ME MK MT NL NO PL PT RO RS RU SE SI SK SM UA VA XK",
    "asia": "AE AF AM AZ BD BH BN BT CN GE HK ID IL IN IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN MO MV MY NP OM PH "
    "PK PS QA SA SG SY TH TJ TL TM TR TW UZ VN YE",
    "africa": "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR MU MW MZ "
    "NA NE NG RE RW SC SD SL SN SO SS ST SZ TD TG TN TZ UG ZA ZM ZW",
    "oceania": "AU CK FJ FM GU KI MH NC NR NU NZ PF PG PW SB TO TV VU WS",
    "south-america": "AR BO BR CL CO EC GF GY PE PY SR UY VE",
    "central-america": "AG AI BB BM BS BZ CR CU DM DO GD GP GT HN HT JM KN KY LC MQ MS MX NI PA PR SV TC TT VC VG VI",
    "north-america": "US CA",
}
_CONTINENT = {code: continent for continent, codes in _CONTINENTS.items() for code in codes.split()}


@dataclass(frozen=True)
class Choice:
    """A curve for each item, or the reason why there is none."""

    curves: CurveSet
    names: tuple[str, ...]  #: what each curve is, for people
    item_curve: IntArray  #: (n_items,) row of `curves`; -1: none
    item_reason: IntArray  #: (n_items,) index of `reasons`; -1: it has a curve
    reasons: tuple[str, ...]


def _sector(occupancy: int) -> str | None:
    """OED occupancy code to JRC's sector: 1050-1099 residential, 1100-1149 commercial, 1150-1199 industrial."""
    for first, last, sector in ((1050, 1099, "residential"), (1100, 1149, "commercial"), (1150, 1199, "industrial")):
        if first <= occupancy <= last:
            return sector
    return None


def _flood(country: str, occupancy: int, coverage: int, building: Sequence[int], choice: FloodChoice) -> Found:
    if coverage == 3:
        return _BI if choice.bi_restoration is None else flood_choice.interruption(choice, occupancy, building[0])
    if uses_first_floor(country, choice):
        floor, storeys, basement, ratio = building
        return flood_choice.curve(choice, occupancy, coverage, (floor, storeys, basement, ratio))
    continent = _CONTINENT.get(country)
    if continent is None:
        return tell("no_flood_country", country=country or "(blank)")
    sector = _sector(occupancy)
    if sector is None:
        return tell("no_flood_occupancy", occupancy=occupancy)
    jrc = load_flood_curves()[1]
    curve = jrc["curves"][continent].get(sector)
    if curve is None:
        return tell("no_flood_sector", sector=sector, continent=continent)
    return f"JRC 2017 {continent} {sector}, depth above ground", (jrc["depth_m"], curve)


def _wind(country: str, _occupancy: int, _construction: int, coverage: int) -> Found:
    if coverage == 3:
        return _BI
    region = _REGION.get(country, "global")
    v_half = vulnerability.EBERENZ_V_HALF_M_S[region][1]
    wind = np.r_[vulnerability.V_THRESH_M_S, np.arange(26.0, 121.0)]
    name = f"Emanuel 2011, v_half {v_half:g} m/s (Eberenz 2021, RMSF, {region}), 1-min wind"
    return name, (wind, vulnerability.emanuel(wind, v_half))


def _shake(_country: str, _occupancy: int, construction: int, coverage: int) -> Found:
    if coverage != 0:
        return tell("shake_buildings_only")
    for first, last, kind in ((5050, 5099, "W1"), (5100, 5149, "URML"), (5150, 5199, "C1L")):
        if first <= construction <= last:
            pga = np.r_[np.geomspace(0.01, 5.0, 120)]
            ratio = shakemap.damage_ratio(pga, np.zeros_like(pga), kind, "low")
            return f"HAZUS {kind}, low code (assumed), equivalent PGA", (pga, np.minimum(ratio, 1.0))
    return tell("no_fragility", construction=construction)


def _stated(_country: str, _occupancy: int, _construction: int, _coverage: int) -> Found:
    return "damage ratio stated by the footprint", ((0.0, 1.0), (0.0, 1.0))


_CHOICES = {"m/s": _wind, "g": _shake, "damage_ratio": _stated}


def choose(
    unit: str, countries: Sequence[str], occupancy: IntArray, construction: IntArray, item_place: IntArray,
    item_coverage: IntArray, *, flood: FloodChoice = DEFAULT, buildings: Buildings | None = None,
) -> Choice:  # fmt: skip
    """A curve for each item.

    countries, occupancy, construction (n_places,) : of the places; item_place, item_coverage (n_items,): coverage 0
    buildings, 1 other, 2 contents, 3 business interruption
    flood, buildings : what the book declares of flood curves, and what it says of its buildings
    """
    names, codes = np.unique(np.asarray(countries, dtype=str), return_inverse=True)
    of_building = np.zeros((len(occupancy), 4), dtype=np.int64) if buildings is None else buildings.codes()
    table = np.column_stack(
        [codes[item_place], occupancy[item_place], construction[item_place], item_coverage, of_building[item_place]]
    )
    kinds, of_item = np.unique(table, axis=0, return_inverse=True)
    curves: dict[str, Any] = {}
    reasons: dict[str, int] = {}
    curve_of, reason_of = np.full(len(kinds), -1), np.full(len(kinds), -1)
    numbers: dict[str, int] = {}
    for row, (code, occ, con, coverage, *building) in enumerate(kinds.tolist()):
        country = str(names[code]).upper()
        if unit == "m":
            found = _flood(country, occ, coverage, building, flood)
        else:
            found = _CHOICES[unit](country, occ, con, coverage)
        if isinstance(found, str):
            reason_of[row] = reasons.setdefault(found, len(reasons))
            continue
        name, knots = found
        curves.setdefault(name, knots)
        curve_of[row] = numbers.setdefault(name, len(numbers))
    known = CurveSet.make(list(curves.values()) or [((0.0, 1.0), (0.0, 0.0))])
    of = of_item.reshape(-1)
    return Choice(known, tuple(curves), curve_of[of].astype(np.int64), reason_of[of].astype(np.int64), tuple(reasons))
