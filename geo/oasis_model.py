"""A model in the tables of the Oasis loss modelling framework, as PiWind has them, as an event set.

Tables: areaperil_dict (rectangles), vulnerability_dict (occupancy to vulnerability), vulnerability (chances of damage
bins by intensity bin), footprint (chances of intensity bins by event and area), damage_bin_dict, occurrence_lt. Format:
github OasisLMF/OasisPiWind, model_data and keys_data.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv

from core.errors import InvalidInput
from geo import chance
from geo.estimate import Places
from geo.loss import Binned, Occurrences, Uncertainty
from geo.perils import covers
from geo.terms import FloatArray, IntArray
from geo.terms_book import TermsBook

_COVERAGE = {1: 0, 2: 1, 3: 2, 4: 3}


class BadModel(InvalidInput):
    """These model tables cannot be used."""


def _read(folder: Path, name: str, columns: tuple[str, ...]) -> dict[str, Any]:
    path = next((folder / f"{name}{end}" for end in (".csv", ".csv.gz") if (folder / f"{name}{end}").exists()), None)
    if path is None:
        raise BadModel(f"--model: {folder} has no {name}.csv")
    try:
        table = pcsv.read_csv(path)
    except (pa.ArrowException, OSError) as error:
        raise BadModel(f"{path.name}: not a readable CSV file: {str(error).splitlines()[0]}") from error
    have = {column.strip().lower(): column for column in table.column_names}
    missing = [column for column in columns if column not in have]
    if missing:
        raise BadModel(f"{path.name}: the header lacks {', '.join(missing)}")
    found: dict[str, Any] = {}
    for column in columns:
        values = table.column(have[column])
        if values.null_count:
            row = values.is_null().to_pylist().index(True)
            raise BadModel(f"{path.name}, line {row + 2}: {column}: it is empty")
        found[column] = values.to_numpy(zero_copy_only=False)
    return found


@dataclass(frozen=True)
class OasisModel:
    """The tables, footprints sorted by event."""

    peril: tuple[str, ...]  #: of each rectangle
    coverage: IntArray
    box: FloatArray  #: (n, 4) west, south, east, north
    area: IntArray
    law_of: dict[tuple[str, int, int], int]  #: (peril, coverage, occupancy) -> vulnerability
    chances: dict[int, FloatArray]  #: vulnerability -> (n_intensities, n_bins) chances of damage bins
    bin_from: FloatArray
    bin_to: FloatArray
    event: IntArray  #: (n_footprint,)
    event_area: IntArray
    event_bin: IntArray
    event_chance: FloatArray
    occurrences: Occurrences

    @classmethod
    def read(cls, folder: Path) -> "OasisModel":
        """From a folder; raises BadModel with file, line and field."""
        a = _read(folder, "areaperil_dict", ("peril_id", "coverage_type", *(f"{c}{i}" for i in range(1, 5)
                  for c in ("lon", "lat")), "area_peril_id"))  # fmt: skip
        lon = np.stack([a[f"lon{i}"] for i in range(1, 5)], axis=1)
        lat = np.stack([a[f"lat{i}"] for i in range(1, 5)], axis=1)
        v = _read(folder, "vulnerability_dict", ("peril_id", "coverage_type", "occupancycode", "vulnerability_id"))
        d = _read(folder, "damage_bin_dict", ("bin_index", "bin_from", "bin_to"))
        if not (d["bin_index"] == np.arange(1, len(d["bin_index"]) + 1)).all():
            raise BadModel("damage_bin_dict.csv: bin_index does not count from 1")
        low, high = d["bin_from"].astype(float), d["bin_to"].astype(float)
        if (low > high).any() or low.min() < 0 or high.max() > 1:
            raise BadModel("damage_bin_dict.csv: a bin ends before it begins, or lies outside 0..1")
        m = _read(folder, "vulnerability", ("vulnerability_id", "intensity_bin_id", "damage_bin_id", "probability"))
        n_intensity = int(m["intensity_bin_id"].max())
        chances: dict[int, FloatArray] = {}
        for name in np.unique(m["vulnerability_id"]).tolist():
            mine = m["vulnerability_id"] == name
            law = np.zeros((n_intensity + 1, len(low)))
            np.add.at(law, (m["intensity_bin_id"][mine], m["damage_bin_id"][mine] - 1), m["probability"][mine])
            total = law.sum(axis=1)
            if (np.abs(total[total > 0] - 1) > 1e-4).any():
                bad = int(np.flatnonzero((total > 0) & (np.abs(total - 1) > 1e-4))[0])
                raise BadModel(
                    f"vulnerability.csv: vulnerability {name}, intensity bin {bad}: chances add to {total[bad]:g}"
                )
            chances[name] = law / np.where(total > 0, total, 1.0)[:, None]
        f = _read(folder, "footprint", ("event_id", "areaperil_id", "intensity_bin_id", "probability"))
        if int(f["intensity_bin_id"].max()) > n_intensity:
            raise BadModel("footprint.csv: an intensity bin has no vulnerability")
        order = np.lexsort((f["areaperil_id"], f["event_id"]))
        return cls(
            tuple(str(p) for p in a["peril_id"]), a["coverage_type"].astype(np.int64),
            np.stack([lon.min(1), lat.min(1), lon.max(1), lat.max(1)], axis=1), a["area_peril_id"].astype(np.int64),
            {(str(p), int(c), int(o)): int(i) for p, c, o, i in zip(*v.values(), strict=True)},
            chances, low, high, f["event_id"][order].astype(np.int64), f["areaperil_id"][order].astype(np.int64),
            f["intensity_bin_id"][order].astype(np.int64), f["probability"][order].astype(float),
            _occurrences(folder),
        )  # fmt: skip

    def events(self, book: TermsBook, places: Places, assumed: Uncertainty) -> "OasisEvents":
        """The set against a book: every item's area and vulnerability, and what has none by reason."""
        entries: list[tuple[int, int, int]] = []  # item, area, vulnerability
        lost: dict[str, list[int]] = {}
        covered = book.location.strings("LocPerilsCovered")
        perils = sorted(set(self.peril))
        boxes = {
            (p, c): np.array([i for i in range(len(self.peril)) if self.peril[i] == p and self.coverage[i] == c])
            for p in perils
            for c in _COVERAGE
        }
        area_at: dict[tuple[str, int, int], int | None] = {}
        for item, (row, coverage) in enumerate(zip(book.item_row.tolist(), book.item_coverage.tolist(), strict=True)):
            kind = coverage + 1
            found, why = False, "no peril of the model is covered"
            for peril in perils:
                if not covers(covered[row], peril, field="LocPerilsCovered"):
                    continue
                key = (peril, kind, row)
                if key not in area_at:
                    area_at[key] = self._area(boxes[(peril, kind)], places.lon[row], places.lat[row])
                area = area_at[key]
                if area is None:
                    none = not len(boxes[(peril, kind)])
                    why = "the model has no such coverage" if none else "outside the model's areas, or without a place"
                    continue
                law = self.law_of.get((peril, kind, int(places.occupancy[row])))
                if law is None or law not in self.chances:
                    why = f"the model has no vulnerability for occupancy {places.occupancy[row]}"
                    continue
                entries.append((item, area, law))
                found = True
            if not found:
                lost.setdefault(why, []).append(item)
        table = np.array(entries, dtype=np.int64).reshape(-1, 3)
        unknown = {why: (len(items), float(book.item_tiv[items].sum())) for why, items in lost.items()}
        return OasisEvents(self, book, places, assumed, table, unknown)

    def _area(self, candidates: IntArray, lon: float, lat: float) -> int | None:
        if not len(candidates) or not (np.isfinite(lon) and np.isfinite(lat)):
            return None
        west, south, east, north = self.box[candidates].T
        hit = np.flatnonzero((lon >= west) & (lon <= east) & (lat >= south) & (lat <= north))
        return int(self.area[candidates[hit[0]]]) if len(hit) else None


def _occurrences(folder: Path) -> Occurrences:
    names = ("event_id", "period_no", "occ_month", "occ_day")
    o = _read(folder, "occurrence_lt", names)
    period = o["period_no"].astype(np.int64)
    if period.min() < 1:
        raise BadModel("occurrence_lt.csv: period_no counts from 1")
    days = []
    for row, (month, day) in enumerate(zip(o["occ_month"].tolist(), o["occ_day"].tolist(), strict=True)):
        try:
            days.append(float((date(2001, int(month), int(day)) - date(2001, 1, 1)).days))
        except ValueError:
            raise BadModel(f"occurrence_lt.csv, line {row + 2}: {month}-{day} is no day") from None
    return Occurrences(period - 1, o["event_id"].astype(np.int64), int(period.max()), np.array(days))


@dataclass(frozen=True)
class OasisEvents:
    """An Oasis model laid over a book."""

    model: OasisModel
    book: TermsBook
    places: Places
    assumed: Uncertainty
    entry: IntArray  #: (m, 3) item, area and vulnerability; an item stands once for each peril
    unknown: dict[str, tuple[int, float]]

    def rate_per_year(self, event: int) -> float:
        """How often the event happens, by its occurrences."""
        o = self.model.occurrences
        return float((o.event == event).sum()) / o.n_years

    def __iter__(self) -> Iterator[Binned]:
        """Every event that touches an item, ascending."""
        m = self.model
        wanted = np.unique(self.entry[:, 1])
        near = np.isin(m.event_area, wanted)
        event, area = m.event[near], m.event_area[near]
        bins, chance_of = m.event_bin[near], m.event_chance[near]
        for number in np.unique(event).tolist():
            first, last = np.searchsorted(event, [number, number + 1])
            mine = self._felt(number, area[first:last], bins[first:last], chance_of[first:last])
            if mine is not None:
                yield mine

    def _felt(self, event: int, area: IntArray, bins: IntArray, chances: FloatArray) -> Binned | None:
        hit = np.isin(self.entry[:, 1], area)
        entry = self.entry[hit]
        if not len(entry):
            return None
        kinds, law_of = np.unique(entry[:, 1:], axis=0, return_inverse=True)
        cdf = np.zeros((len(kinds), len(self.model.bin_from)))
        for row, (where, law) in enumerate(kinds.tolist()):
            here = area == where
            # effective damage: chances of damage bins weighted by those of the intensity bins
            mixed = chances[here] @ self.model.chances[law][bins[here]]
            total = float(chances[here].sum())
            mixed[0] += max(1.0 - total, 0.0)  # what is missing from one is no hazard
            cdf[row] = np.cumsum(mixed / max(total, 1.0))
        rows, place = np.unique(self.book.item_row[entry[:, 0]], return_inverse=True)
        a = self.assumed
        return Binned(
            event, entry[:, 0], place.astype(np.int64), law_of.reshape(-1).astype(np.int64),
            self.book.item_tiv[entry[:, 0]], self.places.key[rows],
            chance.cells_of(self.places.lon[rows], self.places.lat[rows], a.neighbourhood_km, self.places.key[rows]),
            cdf, self.model.bin_from, self.model.bin_to, a,
        )  # fmt: skip
