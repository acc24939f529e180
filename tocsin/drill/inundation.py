"""Stage to footprint: where the water stands for given stages at the gauges, and where it is forecast to stand."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from contourpy import FillType, contour_generator
from shapely.geometry.base import BaseGeometry

from geo.crs import FloatArray
from tocsin.drill.hydrology import Gauge
from tocsin.drill.terrain import CELL_M, NX, NY, PLANE, Terrain

SHALLOW_M = 0.1  # less water than this over the floodplain is not mapped
_SMALLEST_M2 = 6000.0


@dataclass(frozen=True)
class StageAlong:
    """Interpolates stages from the gauges along all channels, with backwater from the main river."""

    terrain: Terrain
    gauges: tuple[Gauge, ...]

    def along(self, stages: FloatArray, channel: int, s: FloatArray) -> FloatArray:
        """Stage above the bed at distances along a channel, for (n_gauges,) stages."""
        own = sorted((g.s, i) for i, g in enumerate(self.gauges) if g.channel == channel)
        stage = np.interp(s, [at for at, _ in own], [stages[i] for _, i in own])
        river = self.terrain.channels[channel]
        # above the first gauge the river gets smaller with its catchment
        first = own[0][0]
        stage = np.where(s < first, stage * (0.55 + 0.45 * s / first), stage)
        if river.joins is not None:
            main = self.terrain.channels[river.joins]
            surface = float(
                self.along(stages, river.joins, np.array([river.joins_s]))[0]
                + np.interp(river.joins_s, main.s, main.bed)
            )
            stage = np.maximum(stage, surface - np.interp(s, river.s, river.bed))
        return np.asarray(stage, dtype=float)

    def depth(self, stages: FloatArray) -> FloatArray:
        """(NY, NX) metres of water over the ground; in channel cells, above the banks. Negative where dry."""
        depth = np.full((NY, NX), -1.0)
        for number, river in enumerate(self.terrain.channels):
            here = self.terrain.drain_channel == number
            s = self.terrain.drain_s[here]
            stage = self.along(stages, number, s)
            base = np.where(self.terrain.is_channel[here], np.interp(s, river.s, river.bank), self.terrain.hand[here])
            depth[here] = stage - base
        return depth

    def flooded(self, stages: FloatArray) -> BaseGeometry:
        """Multipolygon in local metres where the water is over the banks; may be empty. Holds the flooded channel."""
        parts = filled(self.depth(stages), SHALLOW_M)
        for number, river in enumerate(self.terrain.channels):
            over = self.along(stages, number, river.s) - river.bank > SHALLOW_M
            # a point further at both ends, so that the flooded ends lie inside and not on the edge
            parts += [
                shapely.LineString(np.column_stack([river.x[a:b], river.y[a:b]]))
                .simplify(1.5)
                .buffer(float(river.width[a:b].max()) / 2 + 4, cap_style="square", quad_segs=2)
                for a, b in ((max(first - 1, 0), last + 1) for first, last in runs(over))
            ]
        return multipolygon(shapely.union_all(parts), 100.0) if parts else shapely.MultiPolygon()


def runs(flags: Sequence[bool] | np.ndarray) -> list[tuple[int, int]]:
    """(first, past the last) of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(flags, dtype=np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def filled(field: FloatArray, level: float) -> list[BaseGeometry]:
    """Polygons in local metres where a field on the cells' middles is above a level (marching squares)."""
    padded = np.pad(field, 1, constant_values=min(float(field.min()), level - 1.0))
    x = (np.arange(NX + 2) - 0.5) * CELL_M
    y = (np.arange(NY + 2) - 0.5) * CELL_M
    found = contour_generator(x, y, padded, fill_type=FillType.OuterOffset).filled(level, 1e12)
    polygons: list[BaseGeometry] = []
    for points, offsets in zip(*found, strict=True):
        rings = [points[a:b] for a, b in itertools.pairwise(offsets)]
        holes = [r for r in rings[1:] if shapely.Polygon(r).area > _SMALLEST_M2]
        polygon = shapely.Polygon(rings[0], holes)
        if polygon.area > _SMALLEST_M2:
            polygons.append(polygon if polygon.is_valid else shapely.make_valid(polygon))
    return polygons


def multipolygon(geometry: BaseGeometry, smallest_m2: float = _SMALLEST_M2) -> BaseGeometry:
    """The polygons of a geometry in local metres as one multipolygon on a grid of 10 cm, slivers left out."""
    even = shapely.set_precision(geometry, 0.1)
    parts = [
        polygon
        for part in shapely.get_parts(even)
        for polygon in shapely.get_parts(part)
        if polygon.geom_type == "Polygon" and polygon.area > smallest_m2
    ]
    return shapely.MultiPolygon(parts)


def to_lon_lat(geometry: BaseGeometry) -> BaseGeometry:
    """A multipolygon in local metres as lon, lat degrees."""
    return shapely.transform(geometry, lambda xy: np.column_stack(PLANE.inverse(xy[:, 0], xy[:, 1])))
