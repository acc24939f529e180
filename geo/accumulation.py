"""What a book holds in each H3 cell, administrative area or ring around a place, and what a new footprint changes.

Sums are exact integers by currency. A location without coordinates is in no group: it is told beside them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from core.errors import InvalidInput
from geo._compiled_areas import bands, sum_inside
from geo.crs import FloatArray
from geo.exposure import Book, IntArray, exact_sum, rows_within


class BadGroups(InvalidInput):
    """These cells, areas or rings cannot be used."""


@dataclass(frozen=True, slots=True)
class Group:
    """What stands in one cell, area or ring."""

    key: str
    n_locations: int
    n_accounts: int
    tiv_cents: dict[str, int]  #: by currency


def _group(book: Book, key: str, rows: npt.NDArray[np.void]) -> Group:
    return Group(key, len(rows), len(np.unique(rows["account"])), book.by_currency(rows))


def by_cell(book: Book, resolution: int) -> list[Group]:
    """Groups by H3 cell, the most insured (of all currencies, by number) first; raises BadGroups."""
    from h3.api.basic_int import int_to_str, latlng_to_cell

    if not 0 <= resolution <= 15:
        raise BadGroups(f"h3: resolution {resolution} is not between 0 and 15")
    placed = book.rows[: book.n_placed]
    cells = np.fromiter(
        (latlng_to_cell(b, a, resolution) for a, b in zip(placed["lon"].tolist(), placed["lat"].tolist(), strict=True)),
        dtype=np.int64,
        count=len(placed),
    )
    order = np.argsort(cells, kind="stable")
    keys, first = np.unique(cells[order], return_index=True)
    found = [
        _group(book, int_to_str(int(key)), placed[part])
        for key, part in zip(keys, np.split(order, first[1:]), strict=True)
    ]
    return sorted(found, key=lambda group: (-sum(group.tiv_cents.values()), group.key))


def by_text(book: Book, texts: Sequence[str]) -> list[Group]:
    """Groups by a text of each location (by location_id), placed or not, the most insured first."""
    keys, code = np.unique(np.asarray(texts, dtype=object).astype(str), return_inverse=True)
    of_row = code[book.rows["location_id"]]
    found = [_group(book, str(key), book.rows[of_row == i]) for i, key in enumerate(keys)]
    return sorted(found, key=lambda group: (-sum(group.tiv_cents.values()), group.key))


def by_area(book: Book, areas: Iterable[tuple[str, BaseGeometry]]) -> tuple[list[Group], npt.NDArray[np.void]]:
    """Groups of named polygons in their order, and the placed locations that lie in none.

    Polygons may overlap: a location then counts in each. One on an edge is inside.
    """
    found: list[Group] = []
    anywhere = np.zeros(len(book), dtype=bool)
    for name, polygon in areas:
        hit = rows_within(book, polygon)
        anywhere |= hit
        found.append(_group(book, name, book.rows[hit]))
    return found, book.rows[: book.n_placed][~anywhere[: book.n_placed]]


def by_ring(book: Book, lon: float, lat: float, radii_km: Sequence[float]) -> list[Group]:
    """Groups of the rings around a place: from the last radius (excluded) to the next (included), on the ellipsoid.

    Distances are geodesics of WGS84 (Karney 2013), so that rings are right near the poles and across the antimeridian.
    """
    from pyproj import Geod

    radii = np.asarray(radii_km, dtype=float)
    if not len(radii) or not np.isfinite(radii).all() or radii[0] <= 0.0 or (np.diff(radii) <= 0.0).any():
        raise BadGroups(f"rings: radii rise from above zero, not {', '.join(f'{one:g}' for one in radii)}")
    placed = book.rows[: book.n_placed]
    # nothing further than the widest ring can be nearer in latitude than this: a degree is 110.57 km or more
    near = placed[np.abs(placed["lat"] - lat) <= radii[-1] / 110.5 + 1e-9]
    n = len(near)
    _, _, metres = Geod(ellps="WGS84").inv(np.full(n, lon), np.full(n, lat), near["lon"], near["lat"])
    ring = np.searchsorted(radii, np.asarray(metres) / 1000.0, side="left")
    starts = [0.0, *radii[:-1].tolist()]
    return [_group(book, f"{starts[i]:g}-{radii[i]:g} km", near[ring == i]) for i in range(len(radii))]


@dataclass(frozen=True)
class Change:
    """What of a book a newer footprint version holds that the older did not, and the other way round."""

    entered: npt.NDArray[np.void]
    left: npt.NDArray[np.void]
    stayed: npt.NDArray[np.void]
    unknown: npt.NDArray[np.void]  #: without a place: they may be in either


def change(book: Book, older: BaseGeometry, newer: BaseGeometry) -> Change:
    """The difference of two footprint versions over a book, location by location."""
    before, after = rows_within(book, older), rows_within(book, newer)
    return Change(
        book.rows[after & ~before], book.rows[before & ~after], book.rows[before & after], book.rows[book.n_placed :]
    )


def sums_in_areas(
    lon: FloatArray, lat: FloatArray, cents: IntArray, polygons: Sequence[BaseGeometry]
) -> tuple[IntArray, list[int]]:
    """(count, exact sum of cents) in each polygon, for columns that are sorted by longitude and stay in memory.

    Parameters
    ----------
    lon, lat : (n,) degrees, lon rising; cents : (n,) whole hundredths

    Notes
    -----
    A polygon looks only at the rows between its ends (binary search); there each point is tested against the edges of
    its band of latitude (compiled). What lies too near an edge for that is decided by shapely, edges counting as
    inside. No index is built, and memory beyond the columns is a list of the doubtful rows.
    """
    counts = np.zeros(len(polygons), dtype=np.int64)
    sums: list[int] = []
    for number, polygon in enumerate(polygons):
        west, south, east, north = polygon.bounds
        first, last = int(np.searchsorted(lon, west, "left")), int(np.searchsorted(lon, east, "right"))
        if first == last:
            sums.append(0)
            continue
        x1, y1, x2, y2 = _edges(polygon)
        start, edge = bands(y1, y2, south, north, max(len(x1), 1))
        near = np.empty(last - first, dtype=np.int64)
        count, high, low, n_near = sum_inside(
            lon[first:last], lat[first:last], cents[first:last], x1, y1, x2, y2, start, edge, south, north, near
        )
        total = (int(high) << 32) + int(low)
        if n_near:
            rows = first + near[:n_near]
            hit = rows[shapely.intersects_xy(polygon, lon[rows], lat[rows])]
            count += len(hit)
            total += exact_sum(cents[hit])
        counts[number] = count
        sums.append(total)
    return counts, sums


def _edges(polygon: BaseGeometry) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Ends of every edge of every ring: a ray's crossings of all rings together tell inside from outside."""
    rings = [
        np.asarray(ring.coords) for part in shapely.get_parts(polygon) for ring in (part.exterior, *part.interiors)
    ]
    begin, end = np.vstack([ring[:-1, :2] for ring in rings]), np.vstack([ring[1:, :2] for ring in rings])
    x1, y1, x2, y2 = (np.ascontiguousarray(v) for v in (begin[:, 0], begin[:, 1], end[:, 0], end[:, 1]))
    return x1, y1, x2, y2
