"""A hazard field against a book with its terms: who is hit, what it costs, what cannot be told, and to the cent."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from core.errors import InvalidInput
from geo import chance, loss
from geo.curve_choice import CURVE_SIGMA, Choice, choose
from geo.exposure import exact_sum
from geo.flood_choice import BUILDING_FIELDS, Buildings, FloodChoice, uses_first_floor
from geo.hazard_field import HIT, OUTSIDE, REASONS, HazardField
from geo.loss import Chain, Felt, Mapper, Samples, Uncertainty
from geo.oed import TIV_FIELDS
from geo.oed_table import encode
from geo.reported import ReportedField
from geo.terms import FloatArray, IntArray
from geo.terms_book import TermsBook
from geo.terms_files import LossBook, steps_told

#: Columns of the location file that an estimate needs beyond the terms.
PLACE_FIELDS = ("Latitude", "Longitude", "OccupancyCode", "ConstructionCode", *BUILDING_FIELDS)
#: What is done with annual aggregates and treaties of the year where an event stands alone.
FIRST_OF_YEAR = "each event is taken as the first of its year"
N_CONTRIBUTION = 100  #: samples at most for the contribution of each source


@dataclass(frozen=True)
class Places:
    """The rows of a location file as places."""

    lon: FloatArray
    lat: FloatArray
    key: chance.KeyArray
    country: list[str]
    occupancy: IntArray
    construction: IntArray

    @classmethod
    def of(cls, book: TermsBook, lon: FloatArray | None = None, lat: FloatArray | None = None) -> "Places":
        """From the book's location file; `lon` and `lat` where they are known better (converted, checked)."""
        table = book.location
        if lon is None or lat is None:
            blank = {
                name: np.array([not t for t in table.strings(name)], dtype=bool) for name in ("Longitude", "Latitude")
            }
            lon = np.where(blank["Longitude"], np.nan, table.numbers("Longitude", low=-180.0, high=180.0))
            lat = np.where(blank["Latitude"], np.nan, table.numbers("Latitude", low=-90.0, high=90.0))
            table.check()
        return cls(
            lon, lat, chance.keys_of(table.strings("AccNumber"), table.strings("LocNumber")),
            table.strings("CountryCode"), table.whole("OccupancyCode"), table.whole("ConstructionCode"),
        )  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """A hazard field laid over a book."""

    loaded: LossBook
    book: TermsBook
    felt: Felt
    chain: Chain
    choice: Choice
    samples: Samples
    status: IntArray  #: (rows of the location file,) status of each place
    intensity: FloatArray  #: (rows,)
    item_place: IntArray
    assumed: Uncertainty
    unit: str
    contributions: dict[str, dict[str, float]]
    unknown: dict[str, tuple[int, float]]  #: reason -> (items, insured value)
    exposed_tiv: float  #: of places that are hit, curve or not
    n_hit: int
    flood: FloodChoice | None = None  #: where the intensity is a depth
    taken: dict[str, tuple[int, float]] = field(default_factory=dict)  #: what was assumed -> (items, insured value)

    @property
    def n(self) -> int:
        return len(self.samples.sample)

    @property
    def told(self) -> bool:
        """Whether a loss can be told at all: False where something is hit and nothing that is hit has a curve."""
        return len(self.felt.item) > 0 or not self.n_hit

    def as_json(self) -> dict[str, Any]:
        """For people and programs. Losses are in the book's currency; none at all where none can be told."""
        known = self.felt.exposed
        return {
            "currency": self.book.currency, "unit": self.unit, "n_hit": self.n_hit,
            "losses": loss.distribution(self.samples) if self.told else dict.fromkeys(loss.PERSPECTIVES),
            "by_coverage": self.by_coverage() if self.told else {}, "sd_by_source": self.contributions,
            "exposed_tiv": self.exposed_tiv, "tiv_with_loss": known,
            "unknown": {reason: {"n_items": n, "tiv": tiv} for reason, (n, tiv) in sorted(self.unknown.items())},
            "curves": list(self.choice.names), "assumptions": dict(loss.told(self.assumed)) | self._flood(),
            "net_of": "reinsurance" if self.chain.outward is not None else "nothing: no reinsurance was given",
            "demand_surge": [list(band) for band in self.chain.surge],
            "year_terms": FIRST_OF_YEAR if self.chain.annual else None, **self._steps(),
            "left_out": {
                reason: {"n": n, **({} if np.isnan(tiv) else {"tiv": tiv})}
                for reason, (n, tiv) in self.book.left_out.items()
            },
        }  # fmt: skip

    def _steps(self) -> dict[str, Any]:
        """Stated steps that were asked for, with their mean cost."""
        if not self.told:
            return {}
        factor = self.loaded.debris_factor
        debris = float((self.samples.item_gul * (1.0 - 1.0 / factor)).sum()) / self.n
        return steps_told(self.loaded, debris, float(self.samples.total[1].mean()))

    def by_coverage(self) -> dict[str, dict[str, float]]:
        """Mean ground-up, gross and net loss of each coverage that has one."""
        named = ("buildings", "other", "contents", "business_interruption")
        of_row = self.book.item_coverage[self.book.row_item]
        sums = [
            np.bincount(of, weights=w, minlength=4) / self.n
            for of, w in ((self.book.item_coverage, self.samples.item_gul), (of_row, self.samples.row_il),
                          (of_row, self.samples.row_ri))
        ]  # fmt: skip
        return {
            name: dict(zip(loss.PERSPECTIVES, (float(s[i]) for s in sums), strict=True))
            for i, name in enumerate(named)
            if sums[0][i] > 0
        }

    def _flood(self) -> dict[str, Any]:
        if self.flood is None:
            return {}
        taken = {what: {"n_items": n, "tiv": tiv} for what, (n, tiv) in sorted(self.taken.items())}
        return {"flood": self.flood.as_json(), "assumed": taken}

    def by_location(self) -> dict[int, tuple[float, float, float]]:
        """Row of the location file -> mean (ground-up, gross, net), for places with a loss in some sample."""
        n_rows = self.book.location.n
        gul = np.bincount(self.book.item_row, self.samples.item_gul, minlength=n_rows) / self.n
        place = self.book.row_location
        il = np.bincount(place, self.samples.row_il, minlength=n_rows) / self.n
        ri = np.bincount(place, self.samples.row_ri, minlength=n_rows) / self.n
        return {int(row): (float(gul[row]), float(il[row]), float(ri[row])) for row in np.flatnonzero(gul > 0)}

    def policies(self, n_top: int | None = None) -> list[dict[str, Any]]:
        """Policies for claims triage: largest mean gross loss first, with its sd and the chance that it pays."""
        s, chain = self.samples, self.chain
        il = np.bincount(chain.row_policy, s.row_il, minlength=chain.n_policies) / self.n
        ri = np.bincount(chain.row_policy, s.row_ri, minlength=chain.n_policies) / self.n
        variance = np.maximum(s.policy_sq / self.n - il**2, 0.0) * self.n / (self.n - 1)
        hit = np.unique(chain.row_policy[np.isin(self.book.row_item, self.felt.item)])
        order = hit[np.lexsort((hit, -il[hit]))][:n_top]
        account, rows = self.book.account, self.book.policy_row
        texts = {name: account.strings(name) for name in ("AccNumber", "PolNumber")}
        layer = account.strings("LayerNumber", "1")
        return [
            {
                "rank": rank, "acc_number": texts["AccNumber"][rows[p]], "pol_number": texts["PolNumber"][rows[p]],
                "layer_number": layer[rows[p]], "mean_gross": float(il[p]), "sd_gross": float(np.sqrt(variance[p])),
                "mean_net": float(ri[p]), "chance": float(s.policy_hit[p]) / self.n,
            }
            for rank, p in enumerate(order.tolist(), start=1)
        ]  # fmt: skip

    def groups(self, field: str) -> list[dict[str, Any]]:
        """Distribution of losses for each value of the field the samples were grouped by."""
        codes, names = group_codes(self.book, field)
        rows = []
        for g, name in enumerate(names):
            if not self.samples.group[0, g].any():
                continue
            told = {field: name, "tiv": float(self.book.item_tiv[codes[0] == g].sum())}
            for i, perspective in enumerate(loss.PERSPECTIVES):
                told |= {f"{perspective}_{k}": v for k, v in loss.quantiles(self.samples.group[i, g]).items()}
            rows.append(told)
        return sorted(rows, key=lambda r: (-r["il_mean"], str(r[field])))


class NoSuchField(InvalidInput):
    """Neither file of the book has this field."""


def group_codes(book: TermsBook, field: str) -> tuple[tuple[IntArray, IntArray], list[str]]:
    """((group of each item, group of each row), names) by an OED field of the location file or of the account file.

    An item whose location belongs to several policies of other values of an account field takes the first one.
    """
    canonical = {name.lower(): name for name in (*book.account.columns, *book.location.columns)}
    name = canonical.get(field.lower())
    if name is None:
        raise NoSuchField(f"--by: neither file has a column {field!r}")
    if book.location.has(name):
        (codes,), names = encode(book.location.texts(name))
        return (codes[book.item_row], codes[book.row_location]), names
    (codes,), names = encode(book.account.texts(name))
    of_row = codes[book.policy_row[book.row_policy]]
    of_item = np.zeros(len(book.item_row), dtype=np.int64)
    of_item[book.row_item[::-1]] = of_row[::-1]
    return (of_item, of_row), names


def chain_of(loaded: LossBook, by: str | None = None) -> Chain:
    """The way from items' losses to money."""
    book = loaded.book
    item_group = row_group = None
    names: list[str] = []
    if by is not None:
        (item_group, row_group), names = group_codes(book, by)
    return Chain(
        book.programme, loaded.outward, book.row_policy, len(book.policy_row), item_group, row_group, len(names),
        loaded.surge, loaded.debris_factor if loaded.debris_removal else None,
    )  # fmt: skip


def estimate(
    loaded: LossBook,
    field: HazardField | ReportedField,
    places: Places,
    *,
    event: int,
    assumed: Uncertainty | None = None,
    by: str | None = None,
    mapper: Mapper = loss.in_process,
    with_contributions: bool = True,
    flood: FloodChoice | None = None,
    progress: Callable[[int], None] | None = None,
) -> Estimate:
    """The loss of a book under a hazard field. Without `assumed` the curve's sigma is that of the unit.

    `flood` is which depth-damage curves the book declares; raises BadOedRows where they cannot read its columns.
    """
    book = loaded.book
    flood = (flood or FloodChoice()) if field.unit == "m" else None
    buildings = None
    if flood is not None:
        buildings = Buildings.of(book.location, flood)
        book.location.check()
    if assumed is None:
        assumed = Uncertainty()
        assumed = replace(assumed, curve_sigma=CURVE_SIGMA[field.unit])
    intensity, sigma, status = field.at(places.lon, places.lat)
    state = status.astype(np.int64)
    item_state = state[book.item_row]
    choice = choose(
        field.unit, places.country, places.occupancy, places.construction, book.item_row, book.item_coverage,
        flood=flood or FloodChoice(), buildings=buildings,
    )  # fmt: skip
    known = (item_state == HIT) & (choice.item_curve >= 0)
    unknown: dict[str, tuple[int, float]] = {}
    for code, reason in REASONS.items():
        mine = item_state == code
        if mine.any():
            unknown[reason] = (int(mine.sum()), float(book.item_tiv[mine].sum()))
    for code, reason in enumerate(choice.reasons):
        mine = (item_state == HIT) & (choice.item_reason == code)
        if mine.any():
            unknown[reason] = (int(mine.sum()), float(book.item_tiv[mine].sum()))
    item = np.flatnonzero(known)
    rows, item_place = np.unique(book.item_row[item], return_inverse=True)
    felt = Felt(
        event, item, item_place.astype(np.int64), choice.item_curve[item], book.item_tiv[item], places.key[rows],
        chance.cells_of(places.lon[rows], places.lat[rows], assumed.neighbourhood_km, places.key[rows]),
        intensity[rows], sigma[rows], choice.curves, assumed,
    )  # fmt: skip
    chain = chain_of(loaded, by)
    samples = loss.simulate(chain, felt, assumed.n_samples, mapper=mapper, progress=progress)
    shares = {}
    if with_contributions and len(item):
        shares = loss.contributions(chain, felt, min(assumed.n_samples, N_CONTRIBUTION), mapper=mapper)
    hit = item_state == HIT
    taken: dict[str, tuple[int, float]] = {}
    if flood is not None and buildings is not None:
        by_floor = np.array([uses_first_floor(c.upper(), flood) for c in places.country], dtype=bool)
        for what, where in buildings.assumed.items():
            mine = known & (where & by_floor)[book.item_row]
            if flood.bi_restoration is not None:  # interruption reads depth above the floor everywhere
                mine |= known & where[book.item_row] & (book.item_coverage == 3) & what.startswith("FirstFloor")
            if mine.any():
                taken[what] = (int(mine.sum()), float(book.item_tiv[mine].sum()))
    return Estimate(
        loaded, book, felt, chain, choice, samples, state, intensity, book.item_row, assumed, field.unit, shares,
        unknown, float(book.item_tiv[hit].sum()), len(np.unique(book.item_row[hit])), flood, taken,
    )  # fmt: skip


def tiv_reconciliation(book: TermsBook, found: Estimate) -> dict[str, Any]:
    """TIV in = not hit + with a loss + unknown by reason + left out, by currency, in hundredths: difference zero.

    Counted from the file's own texts by location and coverage, not from the sums that the losses were made of.
    """
    table = book.location
    cents = np.stack([np.rint(table.numbers(name) * 100).astype(np.int64) for name in TIV_FIELDS], axis=1)
    where = np.full(cents.shape, -1, dtype=np.int64)  # item of a row and coverage
    where[book.item_row, book.item_coverage] = np.arange(len(book.item_row))
    reasons = [f"unknown: {reason}" for reason in found.choice.reasons]
    places = {code: f"unknown: {reason}" for code, reason in REASONS.items()}
    labels = ["left out: its peril is not covered, or a further line of the same location", "with loss", "not hit",
              *reasons, *places.values()]  # fmt: skip
    of_state = np.zeros(max(REASONS) + 1, dtype=np.int64)
    of_state[OUTSIDE] = 2
    of_state[list(REASONS)] = 3 + len(reasons) + np.arange(len(REASONS))
    of_item = of_state[found.status[book.item_row]]
    hit = found.status[book.item_row] == HIT
    of_item[hit] = 3 + found.choice.item_reason[hit]
    of_item[found.felt.item] = 1
    part = np.where(where >= 0, of_item[where] if len(of_item) else 0, 0)
    known, code = np.unique(np.array([c.upper() for c in table.strings("LocCurrency")]), return_inverse=True)
    result: dict[str, Any] = {}
    for number, currency in enumerate(known.tolist()):
        mine = cents * (code == number)[:, None]
        parts = {label: exact_sum(mine[part == i]) for i, label in enumerate(labels)}
        parts = {label: amount for label, amount in sorted(parts.items()) if amount}
        total = exact_sum(mine.ravel())
        result[currency] = {"tiv_in": total, "parts": parts, "difference": total - sum(parts.values())}
    return result
