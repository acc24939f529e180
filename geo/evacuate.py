"""The use case of `tocsin evacuate`: files in, every household's way out as files."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from core.errors import InvalidInput
from geo import imports
from geo.clearance import clearance
from geo.closing import ALL, Override, PartialLayer
from geo.directions import codes_of
from geo.evacuation import ACCESSIBLE_NEEDS, STATUSES, Forecast, Households, Margins, Plan, SafeZones, Seats, Status
from geo.hazard import WATER_PERILS, ArrivalZone, BadFootprint, Hazard, check_polygon, from_geojson
from geo.hazard_rasters import read_sequence
from geo.network import RoadNetwork
from geo.oed import BadRow
from geo.roadfiles import read_extract
from geo.routing import plan_routes
from geo.spread import spread_out
from geo.traffic import Demand, who_drives

PERILS = {"flood": "flood", "fire": "wildfire", "wildfire": "wildfire", "quake": "earthquake", "other": "other"}
#: Water as deep as this stops a car (Pregnolato et al. 2017: speed falls to 0 at 0.3 m).
CLOSING_DEPTH_M = 0.3
#: Shaking at which a bridge is closed for inspection (HAZUS 5.1: slight damage of the commonest classes).
CLOSING_PGA_G = 0.3
#: By how much all ways together may become longer so that all are out sooner: with seats a plan stays within 1 % of
#: the optimum; without, three times as soon as nearest and fastest costs more than that (docs/methods/evacuation.md).
LONGER_SHARE, LONGER_SHARE_UNSEATED = 0.01, 0.1
#: How much of that may be spent on seats, so that fewer queue into one safe zone.
ENTRANCES = 0.8
COLUMNS = (
    "id", "status", "safe_zone", "travel_s", "distance_m", "leave_by_s", "inside_m", "reason", "route_leave_by_s",
    "leave_by_probability",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one run takes."""

    roads: Path
    hazards: Sequence[Path]
    weights: Sequence[float]
    safe_zones: Path
    households: Path
    mode: str | None
    seats: bool
    overrides: Path | None
    margins: Margins
    demand: Demand | None = None  #: None: no clearance is computed
    longer_share: float | None = None  #: by how much all ways may become longer; None: the defaults above
    contraflow: Path | None = None  #: ways whose lanes all go outwards, as a scenario of the clearance


@dataclass(frozen=True, kw_only=True)
class Done:
    """What one run made."""

    plan: Plan
    people: list[imports.Person]
    refused: list[BadRow]
    zones: list[dict[str, Any]]
    summary: dict[str, Any]
    unplaced: dict[str, str]  #: households whose row cannot be used, by id, with the reason: written as off-network


def read_hazard(path: Path) -> tuple[Hazard, tuple[PartialLayer, ...]]:
    """A forecast from GeoJSON features with `arrival_min` (0 or none: closed now) and `peril` (default flood).

    Flood features with `depth_m` below CLOSING_DEPTH_M close underpasses only; quake features with `pga_g` close
    bridges only, from CLOSING_PGA_G. Where features are of several perils and one is water, the others close bridges
    too. A table of rasters (.csv) is read by `geo.hazard_rasters`. Raises BadFootprint
    naming file, feature and field.
    """
    if path.suffix.lower() == ".csv":
        return read_sequence(path, CLOSING_DEPTH_M)
    document = imports.read_json(path)
    features = document.get("features") if isinstance(document, dict) else None
    if features is None:
        features = [{"geometry": document, "properties": {}}]
    if not isinstance(features, list):
        raise BadFootprint(f"{path.name}: features: it is not a list")
    present, zones, partial, perils = [], [], [], set()
    dry: list[PartialLayer] = []  # what is not water, whole: it closes bridges where the file has water as well
    for number, feature in enumerate(features):
        where = f"{path.name}: features[{number}]"
        if not isinstance(feature, dict) or not feature.get("geometry"):
            raise BadFootprint(f"{where}: it has no geometry")
        given = feature.get("properties") or {}
        if not isinstance(given, dict):
            raise BadFootprint(f"{where}.properties: it is not an object")
        geometry = check_polygon(from_geojson(feature["geometry"], field=where), field=where)
        peril = str(given.get("peril") or "flood")
        if peril not in PERILS:
            raise BadFootprint(f"{where}.peril: {peril!r} is not one of {', '.join(sorted(PERILS))}")
        perils.add(PERILS[peril])
        arrival = _number(given, "arrival_min", where) or 0.0
        if not 0.0 <= arrival <= 14 * 24 * 60:
            raise BadFootprint(f"{where}.arrival_min: {arrival:g} is not within 0..20160 minutes")
        depth, shaking = _number(given, "depth_m", where), _number(given, "pga_g", where)
        for name, value in (("depth_m", depth), ("pga_g", shaking)):
            if value is not None and value < 0.0:
                raise BadFootprint(f"{where}.{name}: {value:g} is negative")
        if PERILS[peril] in WATER_PERILS and depth is not None and depth < CLOSING_DEPTH_M:
            if depth > 0.0:
                partial.append(PartialLayer(arrival_min=arrival, geometry=geometry, only="underpass"))
            continue
        if PERILS[peril] == "earthquake" and shaking is not None:
            if shaking >= CLOSING_PGA_G:
                partial.append(PartialLayer(arrival_min=arrival, geometry=geometry, only="bridge"))
            continue
        if PERILS[peril] not in WATER_PERILS:
            dry.append(PartialLayer(arrival_min=arrival, geometry=geometry, only=ALL))
        if arrival > 0.0:
            zones.append(ArrivalZone(arrival_min=arrival, geometry=geometry, intensity=depth))
        else:
            present.append(geometry)
    now = shapely.union_all(present) if present else shapely.MultiPolygon()
    water = sorted(perils & WATER_PERILS)
    peril = water[0] if water else min(perils, default="flood")
    if water and len(perils) > 1:
        partial += dry
    return Hazard(geometry=now, zones=tuple(sorted(zones, key=lambda z: z.arrival_min)), peril=peril), tuple(partial)


def _number(given: dict[str, Any], key: str, where: str) -> float | None:
    value = given.get(key)
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise BadFootprint(f"{where}.{key}: {value!r} is not a number") from None
    if not np.isfinite(number):
        raise BadFootprint(f"{where}.{key}: {value!r} is not a finite number")
    return number


def read_overrides(path: Path, network: RoadNetwork) -> list[Override]:
    """An operator's word from CSV: way (OpenStreetMap's id), action (open or close), by, reason."""
    found = []
    for where, row in _rows(path, "way", "action", "by"):
        action, by = row["action"].strip(), row["by"].strip()
        try:
            way = int(row["way"])
        except ValueError as error:
            raise InvalidInput(f"{where}.way: {row['way']!r} is not a number") from error
        if action not in ("open", "close"):
            raise InvalidInput(f"{where}.action: {action!r} is neither open nor close")
        if not by:
            raise InvalidInput(f"{where}.by: it is empty: who says so?")
        roads = np.flatnonzero(network.road_osm_id == way).astype(np.int32)
        if way <= 0 or not len(roads):
            raise InvalidInput(f"{where}.way: the network has no way {way}")
        found.append(Override(roads=roads, opened=action == "open", by=by, reason=row.get("reason") or ""))
    return found


def read_ways(path: Path, network: RoadNetwork) -> npt.NDArray[np.int32]:
    """Roads of the ways (OpenStreetMap's ids) in the column `way` of a CSV file that have both directions."""
    found: list[npt.NDArray[np.int64]] = []
    for where, row in _rows(path, "way"):
        try:
            way = int(row["way"])
        except ValueError as error:
            raise InvalidInput(f"{where}.way: {row['way']!r} is not a number") from error
        roads = np.flatnonzero((network.road_osm_id == way) & network.road_car)
        if way <= 0 or not len(roads):
            raise InvalidInput(f"{where}.way: the network has no way {way} for cars")
        if network.road_oneway[roads].any():
            raise InvalidInput(f"{where}.way: way {way} is one-way: it has no lanes to turn")
        found.append(roads)
    if not found:
        raise InvalidInput(f"{path.name}: it names no way")
    return np.unique(np.concatenate(found)).astype(np.int32)


def evacuate(job: Job, tell: Callable[[str], None] = lambda _: None) -> Done:
    """Reads the files, plans, and sums up. Bad household rows are listed and the others planned; nobody is dropped."""
    tell(f"Reading {job.roads.name}")
    network = read_extract(job.roads)
    forecasts = []
    for path, weight in zip(job.hazards, job.weights or [1.0] * len(job.hazards), strict=True):
        hazard, partial = read_hazard(path)
        forecasts.append(Forecast(hazard=hazard, weight=weight, partial=partial))
    forecasts = _of_one_peril(job.hazards, forecasts)
    zones = imports.read_safe_zones(job.safe_zones, need_seats=job.seats)
    refused: list[BadRow] = []
    refused_ids: dict[int, str] = {}
    people = imports.read_households(job.households, refused, refused_ids)
    known = {p.code for p in people}
    unplaced = {
        refused_ids[r.line]: f"line {r.line}: {r.field}: {r.reason}"
        for r in refused
        if refused_ids.get(r.line, "") not in known | {""}
    }
    if job.weights and abs(sum(job.weights) - 1.0) > 1e-6:
        tell(f"--weight: the weights sum to {sum(job.weights):g}, not 1: each counts as its share of that")
    overrides = read_overrides(job.overrides, network) if job.overrides else []
    turned = read_ways(job.contraflow, network) if job.contraflow else None
    n = len(people)
    on_foot = np.array([(job.mode or p.mode) == "foot" for p in people], dtype=bool)
    households = Households(
        np.array([p.lon for p in people], dtype=float), np.array([p.lat for p in people], dtype=float), on_foot
    )
    longer = job.longer_share
    if longer is None:
        longer = LONGER_SHARE if job.seats else LONGER_SHARE_UNSEATED
    seats = None
    if job.seats:
        seats = Seats(
            seats=np.array([z["seats"] for z in zones], dtype=np.int64),
            accessible_seats=np.array([z["accessible_seats"] for z in zones], dtype=np.int64),
            people=np.array([p.people for p in people], dtype=np.int64),
            accessible=np.array([bool(ACCESSIBLE_NEEDS & set(p.needs)) for p in people], dtype=bool),
            give=ENTRANCES * longer if job.demand is not None else 0.0,
        )
    tell(f"Planning {n:,} households over {network.n_roads:,} roads")
    safe = SafeZones(np.array([z["lon"] for z in zones]), np.array([z["lat"] for z in zones]))
    plan = plan_routes(
        network, forecasts, safe, households, margins=job.margins, with_points=False, overrides=overrides, seats=seats
    )
    told: dict[str, Any] | None = None
    if job.demand is not None:
        tell("Simulating clearance")
        plan, told = _spread(job, plan, forecasts, overrides, turned, seats, longer)
    summary = _summary(plan, people, zones, overrides, refused)
    summary["counts"][Status.OFF_NETWORK.value] += len(unplaced)
    summary["households"] += len(unplaced)
    if told is not None:
        summary["clearance"] = told
    return Done(plan=plan, people=people, refused=refused, zones=zones, summary=summary, unplaced=unplaced)


def _of_one_peril(paths: Sequence[Path], forecasts: list[Forecast]) -> list[Forecast]:
    """The members of an ensemble; one in which nothing happens is of the others' peril. Raises InvalidInput."""
    empty = [f.hazard.geometry.is_empty and not f.hazard.zones and not f.partial for f in forecasts]
    told = {f.hazard.peril: path.name for path, f, nothing in zip(paths, forecasts, empty, strict=True) if not nothing}
    if len(told) > 1:
        named = ", ".join(f"{name} is {peril}" for peril, name in sorted(told.items()))
        raise InvalidInput(f"--hazard: the forecasts of one ensemble are of one peril, but {named}")
    return [
        replace(f, hazard=replace(f.hazard, peril=next(iter(told)))) if nothing and told else f
        for f, nothing in zip(forecasts, empty, strict=True)
    ]


def _rows(path: Path, *needed: str) -> Iterator[tuple[str, dict[str, str]]]:
    """(place, row) of a CSV file that must have these columns; a missing value is empty. Raises InvalidInput."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            if lacks := [name for name in needed if name not in (reader.fieldnames or ())]:
                raise InvalidInput(f"{path.name}: the header lacks {', '.join(lacks)}")
            for line, row in enumerate(reader, start=2):
                yield f"{path.name}, line {line}", row
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{path.name}: it is not a CSV file in UTF-8: {error}") from error


def _spread(
    job: Job, plan: Plan, forecasts: list[Forecast], overrides: list[Override], turned: npt.NDArray[np.int32] | None,
    seats: Seats | None, longer_share: float,
) -> tuple[Plan, dict[str, Any]]:  # fmt: skip
    """(the plan with the ways that are told, its clearance)."""
    assert job.demand is not None
    reached = np.isfinite(plan.reached_s)
    rows = who_drives(plan, reached, job.demand)
    if not len(rows):
        return plan, {"households_driving": 0, "reason": "no household drives"}
    unseated = plan
    if seats is not None:
        unseated = plan_routes(
            plan.network, forecasts, plan.zones, plan.households, margins=plan.margins, with_points=False,
            overrides=overrides, doors=plan.doors,
        )  # fmt: skip
    spread = spread_out(plan, rows, job.demand, longer_share, seats)
    return spread.plan, clearance(spread, unseated, turned, seats)


def _summary(
    plan: Plan, people: list[imports.Person], zones: list[dict[str, Any]], overrides: list[Override],
    refused: list[BadRow],
) -> dict[str, Any]:  # fmt: skip
    c = plan.columns
    travel = c.travel_s[np.isfinite(c.travel_s)]
    why = {}
    for k, zone in enumerate(zones):
        if not plan.offered[k]:
            if not plan.zone_on_network[k]:
                why[zone["code"]] = "too far from any road"
            else:
                why[zone["code"]] = f"the hazard reaches it at minute {plan.zone_close_s[k] / 60.0:.0f}"
    told: dict[str, Any] = {
        "households": len(people),
        "households_refused": [{"line": r.line, "field": r.field, "reason": r.reason} for r in refused],
        "counts": plan.counts(),
        "travel_s": {
            "mean": round(float(travel.mean()), 1) if len(travel) else None,
            "p95": round(float(np.percentile(travel, 95)), 1) if len(travel) else None,
        },
        "free_flow": "travel times are without congestion; see clearance",
        "closed_now": int(plan.closures.closed(0.0).sum()),
        "safe_zones_not_offered": why,
        "margins": asdict(plan.margins),
        "roads": plan.network.about,
        "still_out_if_left_by": _by_departure(plan, np.array([p.people for p in people])),
        "overrides": [
            {"n_roads": len(o.roads), "action": "open" if o.opened else "close", "by": o.by, "reason": o.reason}
            for o in overrides
        ],
        "note": "Advice only. An official order always wins.",
    }
    if plan.seated is not None:
        s = plan.seated
        told["seats"] = {
            "used": {z["code"]: int(s.used[k]) for k, z in enumerate(zones)},
            "used_accessible": {z["code"]: int(s.used_accessible[k]) for k, z in enumerate(zones)},
            "people_seated": s.n_people_seated, "people_without": s.n_people_without,
            "person_s": round(s.person_s, 1), "bound_person_s": round(s.bound_person_s, 1),
            "bound_people": s.bound_people,
        }  # fmt: skip
    return told


def _by_departure(plan: Plan, people: np.ndarray) -> list[dict[str, Any]]:
    """How many clear households still have a way when they leave after so many minutes."""
    clear = plan.columns.status == STATUSES.index(Status.CLEAR)
    late = plan.columns.last_way_out_s
    return [
        {
            "minute": minute,
            "households": int((clear & (late >= minute * 60.0)).sum()),
            "people": int(people[clear & (late >= minute * 60.0)].sum()) if len(people) else 0,
        }
        for minute in (0, 10, 20, 30, 60, 90, 120, 180, 240, 360, 480, 720)
    ]


def write(done: Done, folder: Path, *, routes: bool) -> list[Path]:
    """households.csv, plan.json and, where asked for, routes.geojson; returns what it wrote."""
    folder.mkdir(parents=True, exist_ok=True)
    c, codes = done.plan.columns, [z["code"] for z in done.zones]
    files = [folder / "households.csv", folder / "plan.json"]
    with files[0].open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(COLUMNS)
        for i, person in enumerate(done.people):
            way = c.zone[i] >= 0
            out.writerow(
                (
                    person.code, STATUSES[c.status[i]].value, codes[c.zone[i]] if way else "", _text(c.travel_s[i]),
                    _text(c.distance_m[i]), _down(c.last_way_out_s[i]) if way else "",
                    _text(c.inside_m[i]) if way else "", c.reason[i], _down(c.leave_by_s[i]) if way else "",
                    _text(c.probability[i], 3),
                )
            )  # fmt: skip
        for code, reason in done.unplaced.items():
            out.writerow((code, Status.OFF_NETWORK.value, "", "", "", "", "", reason, "", ""))
    files[1].write_text(json.dumps(done.summary, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    if routes:
        files.append(folder / "routes.geojson")
        _write_routes(done, files[2])
    return files


def _text(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else ""


def _down(value: float) -> str:
    """Rounded down: a leave-by is never later than it may be."""
    return f"{np.floor(value * 10.0) / 10.0:.1f}" if np.isfinite(value) else ""


def _write_routes(done: Done, path: Path) -> None:
    rows = np.flatnonzero(done.plan.columns.begin >= 0)
    codes = [z["code"] for z in done.zones]
    c = done.plan.columns
    with path.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        first = True
        for piece in np.array_split(rows, max(1, len(rows) // 5000)):
            points, start = done.plan.lines(piece)
            points = np.round(points, 7)
            edges, of = done.plan.ways(piece)
            for k, i in enumerate(piece.tolist()):
                line = points[start[k] : start[k + 1]].tolist()
                trees = done.plan.trees[c.tree[i]]
                graph, last = trees.graph, trees.sources.share[c.source[i]]
                properties = {
                    "id": done.people[i].code, "status": STATUSES[c.status[i]].value, "safe_zone": codes[c.zone[i]],
                    "travel_s": round(float(c.travel_s[i]), 1),
                    "roads": codes_of(graph.edge_road, graph.forward, edges[of[k] : of[k + 1]]),
                    "first_share": float(c.share[i]), "last_share": float(last),
                }  # fmt: skip
                feature = {
                    "type": "Feature", "properties": properties,
                    "geometry": {"type": "LineString", "coordinates": line if len(line) > 1 else line * 2},
                }  # fmt: skip
                file.write(("\n" if first else ",\n") + json.dumps(feature, ensure_ascii=False))
                first = False
        file.write("\n]}\n")
