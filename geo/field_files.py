"""Hazard fields from files: GeoJSON with an intensity, a depth raster, a ShakeMap grid, a cyclone's track."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from shapely import union_all
from shapely.geometry.base import BaseGeometry

from core.errors import InvalidInput
from geo import hazard
from geo.hazard import Layer
from geo.hazard_field import SIGMA_LN, BadField, GridField, HazardField, PolygonField, outline
from geo.imports import BadFile, read_json
from geo.raster import check_depths, read_grid
from geo.shakemap import read_shakemap
from geo.track_files import read_tracks
from geo.wind import MODELS, UnknownModel, max_wind_m_s, resample

#: The track's wind is kept on a grid of this many degrees, and around the track as far as this.
_TRACK_STEP_DEG, _TRACK_MARGIN_DEG = 0.05, 4.0
DAMAGING_WIND_M_S = 17.5  #: gale: the outline of a cyclone's footprint
DAMAGING_PGA_G = 0.05  #: the outline of an earthquake's footprint: below, damage is rare


def polygon_field(layers: Sequence[Layer], sigma_ln: float | None, *, name: str) -> HazardField | None:
    """A field from the layers that carry an intensity and are there now; None if none does.

    Where some carry one and others do not, the others would be counted as not hit: that is refused.
    """
    present = [layer for layer in layers if layer.arrival_min == 0]
    strong = [layer for layer in present if layer.intensity is not None]
    if not strong:
        return None
    for layer in present:
        if layer.intensity is None:
            raise BadField(f"{name}: features[{layer.number}].intensity: it is missing while other features carry one")
    parts = [(layer.geometry, layer.intensity) for layer in strong if layer.intensity is not None]
    return PolygonField.make(parts, str(strong[0].unit), sigma_ln)


def depth_raster(path: Path, unit: str, sigma_ln: float | None = None) -> GridField:
    """Depth above ground from a raster in WGS84 degrees; cells without a value are dry. Raises BadRaster, BadField."""
    if unit not in ("m", "ft"):
        raise BadField(f"--depth-unit: {unit!r} is neither m nor ft")
    values, west, north, step_lon, step_lat = read_grid(path, unit)
    values[~np.isfinite(values)] = np.nan
    check_depths(path, values, unit)
    return GridField.make(
        values, unit, west=west, north=north, step_lon=step_lon, step_lat=step_lat, sigma_ln=sigma_ln, smooth=False,
        dry_nodata=True,
    )  # fmt: skip


def shakemap(path: Path) -> GridField:
    """Peak ground acceleration with its own sigma from a ShakeMap grid.xml, or .gz of it."""
    import gzip

    try:
        raw = path.read_bytes()
        text = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror or error}") from error
    shake = read_shakemap(text, path.name)
    step_lon, step_lat = float(np.diff(shake.lon).mean()), float(np.diff(shake.lat).mean())
    return GridField.make(
        shake.pga_g[::-1], "g", west=float(shake.lon[0]) - step_lon / 2, north=float(shake.lat[-1]) + step_lat / 2,
        step_lon=step_lon, step_lat=step_lat, sigma_ln=shake.sigma_ln[::-1], smooth=True,
    )  # fmt: skip


@dataclass(frozen=True)
class FootprintFile:
    """What a file says of a footprint."""

    geometry: BaseGeometry
    zones: tuple[hazard.ArrivalZone, ...]
    field: HazardField | None
    made_how: str


def footprint(
    path: Path, *, unit: str | None = None, sigma_ln: float | None = None, wind_model: str = "H08"
) -> FootprintFile:
    """A footprint from GeoJSON, a depth raster, a ShakeMap or a track, by the file's name.

    Of a grid the outline is what is under water, shaken from 0.05 g, or in winds from 17.5 m/s; the field reaches
    further. Raises BadFootprint, BadField and what the readers raise.
    """
    name = path.name.lower()
    if name.endswith((".tif", ".tiff")):
        if unit is None:
            raise BadField("--unit: say whether the depth raster is in m or ft")
        field: GridField = depth_raster(path, unit, sigma_ln)
        return FootprintFile(outline(field, 0.0), (), field, f"depth raster {path.name} ({unit})")
    if name.endswith((".xml", ".xml.gz")):
        field = shakemap(path)
        return FootprintFile(
            outline(field, DAMAGING_PGA_G), (), field, f"ShakeMap {path.name}, from {DAMAGING_PGA_G} g"
        )
    if name.endswith(".csv"):
        field = track(path, wind_model)
        how = f"track {path.name}, {wind_model}, winds from {DAMAGING_WIND_M_S} m/s"
        return FootprintFile(outline(field, DAMAGING_WIND_M_S), (), field, how)
    layers = hazard.read_layers(read_json(path), name=path.name, unit=unit)
    present = [layer.geometry for layer in layers if layer.arrival_min == 0]
    if not present:
        raise hazard.BadFootprint(f"{path.name}: no feature is inside the hazard now (arrival_min 0 or none)")
    zones = tuple(
        hazard.ArrivalZone(
            arrival_min=layer.arrival_min, geometry=layer.geometry, intensity=layer.intensity, unit=layer.unit
        )
        for layer in layers
        if layer.arrival_min > 0
    )
    return FootprintFile(union_all(present), zones, polygon_field(layers, sigma_ln, name=path.name), path.name)


def track(
    path: Path, model: str = "H08", *, averaging_min: int | None = None, penv_hpa: float | None = None
) -> GridField:
    """The largest wind over a storm on a grid around its track.

    Several tracks are members of an ensemble: the field is then the geometric mean of their winds, and their spread
    goes into its sigma.
    """
    chosen = next((name for name in MODELS if name == model.upper()), None)
    if chosen is None:
        raise UnknownModel(f"--wind-model: {model!r} is none of {', '.join(MODELS)}")
    members = read_tracks(path, averaging_min=averaging_min, penv_hpa=penv_hpa)
    storms = [resample(one.track, 3600.0) for one in members]
    first = float(storms[0].lon[0])
    # across the antimeridian in one piece, and every member on the same side of it
    lon = np.concatenate([(s.lon - first + 180.0) % 360.0 - 180.0 + first for s in storms])
    lat = np.concatenate([s.lat for s in storms])
    west, east = lon.min() - _TRACK_MARGIN_DEG, lon.max() + _TRACK_MARGIN_DEG
    south, north = max(lat.min() - _TRACK_MARGIN_DEG, -89.0), min(lat.max() + _TRACK_MARGIN_DEG, 89.0)
    if west < -180.0:
        west, east = west + 360.0, east + 360.0
    if north - south > 120.0 or east - west > 180.0:
        raise InvalidInput(f"{path.name}: the track is too long for one footprint: cut it")
    n_lon, n_lat = int(np.ceil((east - west) / _TRACK_STEP_DEG)), int(np.ceil((north - south) / _TRACK_STEP_DEG))
    x = (west + (np.arange(n_lon) + 0.5) * _TRACK_STEP_DEG + 180.0) % 360.0 - 180.0
    y = north - (np.arange(n_lat) + 0.5) * _TRACK_STEP_DEG
    grid_lon, grid_lat = (part.ravel() for part in np.meshgrid(x, y))
    total, square = np.zeros(n_lat * n_lon), np.zeros(n_lat * n_lon)
    for storm in storms:
        logs = np.log(np.maximum(max_wind_m_s(storm, grid_lon, grid_lat, model=chosen), 0.1))
        total, square = total + logs, square + logs**2
    mean = total / len(storms)
    spread = np.sqrt(np.maximum(square / len(storms) - mean**2, 0.0)) if len(storms) > 1 else np.zeros_like(mean)
    sigma = np.hypot(SIGMA_LN["m/s"], spread)
    return GridField.make(
        np.exp(mean).reshape(n_lat, n_lon), "m/s", west=float(west), north=float(north), step_lon=_TRACK_STEP_DEG,
        step_lat=_TRACK_STEP_DEG, sigma_ln=None if len(storms) == 1 else sigma.reshape(n_lat, n_lon), smooth=True,
    )  # fmt: skip
