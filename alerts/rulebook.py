"""Rule files: what people write, turned into rules; and a station list, turned into a rule for each station.

A JSON file is one object: `rules`, a list, and optionally `stages` (names of this tenant's stages and the level each
means, over those of `alerts.level`). A rule names `code`, `station`, `thresholds` and whatever else of a rule's
definition (docs/reference of `alerts.rule`), its `area` as a GeoJSON polygon or `radius_km` around its station. A rule
of `kind` footprint or bulletin names no station and no area (`alerts.event_rule`).
"""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite
from typing import Any
from uuid import UUID

import shapely
from pyproj import Geod
from shapely.errors import ShapelyError
from shapely.geometry import Polygon, shape
from shapely.geometry.base import BaseGeometry

from alerts.event_rule import EventRule, event_definition, event_rule
from alerts.level import Level, UnknownLevel, level, level_of_stage
from alerts.rule import PLAIN_FIELDS, SPANS, BadRule, LevelRule, definition, from_definition, level_rule
from core.errors import InvalidInput
from core.ids import derived_id

#: Columns of a station list and the stage that each is.
STAGE_COLUMNS = {"alert_m": "alert", "minor_flood_m": "minor", "major_flood_m": "major"}
RULES_AT_MOST = 20_000
_GEOD = Geod(ellps="WGS84")


#: A refusal names its rule, then its field: `rule, rule 1: thresholds: ...`, `rule, rule 1: Rule 'a': k and n ...`.
_NAMED = re.compile(r"(?:.*?, rule \d+|rule): (?:Rule '.*?': )?([a-z_]+)(?:: | and [a-z_]+:? |\b )(.+)", re.DOTALL)
_FIELDS = frozenset(
    {"code", "station", "thresholds", "area", "area_desc", "radius_km", "effective_from", "exposure", "senders",
     "at_least", "portfolio", "rise_per_h", "automatic_ceiling", "place", "source", *PLAIN_FIELDS}
)  # fmt: skip


class BadRuleFile(InvalidInput):
    """A rule file cannot be used."""

    @property
    def problems(self) -> list[tuple[str, str]]:
        """The field of the first rule that is wrong, and why; none where no one field is to blame."""
        found = _NAMED.match(self.message)
        if found is None:
            return []
        field = found[1] + "_s" if found[1] in SPANS else found[1]
        return [(field, found[2])] if field in _FIELDS or found[1] in SPANS else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A station that a rule can be about."""

    code: str
    name: str
    lon: float | None
    lat: float | None
    datastream_id: int
    quantity: str
    interval_s: float
    basin: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleEntry:
    """A rule of a file: what it says, whom it warns, and from when."""

    rule: LevelRule | EventRule
    site: Site | None  #: none: it looks at no gauge
    area: BaseGeometry | None
    area_desc: Mapping[str, str]
    effective_from: datetime | None  #: none: from the import on


class Sites:
    """Stations by code or name, with their quantity."""

    def __init__(self, sites: Sequence[Site]) -> None:
        self._by_code = {(one.code, one.quantity): one for one in sites}
        self._by_name: dict[tuple[str, str], list[Site]] = {}
        for one in sites:
            self._by_name.setdefault((one.name, one.quantity), []).append(one)

    def find(self, station: str, quantity: str, where: str) -> Site:
        """The one station of this code or name; raises BadRuleFile."""
        found = self._by_code.get((station, quantity))
        if found is not None:
            return found
        named = self._by_name.get((station, quantity), [])
        if len(named) != 1:
            why = "is the name of several stations: give its code" if named else f"measures no {quantity} here"
            raise BadRuleFile(f"{where}: station: {station!r} {why}")
        return named[0]


def circle(lon: float, lat: float, radius_km: float) -> Polygon:
    """A circle on the ellipsoid as a polygon of 48 corners, EPSG:4326."""
    around = [_GEOD.fwd(lon, lat, angle * 7.5, radius_km * 1000.0)[:2] for angle in range(48)]
    return Polygon(around)


def read_json(
    text: str, *, tenant_id: UUID, sites: Sites, name: str, stages: Mapping[str, Level] | None = None
) -> list[RuleEntry]:
    """The rules of a JSON file; raises BadRuleFile naming the rule and the field. `stages` are the tenant's own."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRuleFile(f"{name}: not JSON: {error}") from error
    if not isinstance(told, dict) or not isinstance(told.get("rules"), list):
        raise BadRuleFile(f"{name}: rules: must be a list")
    unknown = sorted(set(told) - {"rules", "stages"})
    if unknown:
        raise BadRuleFile(f"{name}: unknown field {unknown[0]!r}")
    stages = dict(stages or {}) | _stages(told.get("stages") or {}, name)
    if len(told["rules"]) > RULES_AT_MOST:
        raise BadRuleFile(f"{name}: rules: more than {RULES_AT_MOST}")
    entries = [
        _entry(one, tenant_id=tenant_id, sites=sites, stages=stages, where=f"{name}, rule {k}")
        for k, one in enumerate(told["rules"], 1)
    ]
    codes: dict[str, int] = {}
    for k, one in enumerate(entries, 1):
        if one.rule.code in codes:
            raise BadRuleFile(f"{name}, rule {k}: code: {one.rule.code!r} is that of rule {codes[one.rule.code]} too")
        codes[one.rule.code] = k
    return entries


def _stages(told: Any, name: str) -> dict[str, Level]:
    if not isinstance(told, dict):
        raise BadRuleFile(f"{name}: stages: must be an object of stage and level")
    try:
        return {str(stage): level(str(word)) for stage, word in told.items()}
    except UnknownLevel as error:
        raise BadRuleFile(f"{name}: stages: {error}") from error


_OWN = ("code", "station", "area", "area_desc", "radius_km", "effective_from", "thresholds")


def _entry(told: Any, *, tenant_id: UUID, sites: Sites, stages: Mapping[str, Level], where: str) -> RuleEntry:
    if not isinstance(told, dict):
        raise BadRuleFile(f"{where}: must be an object")
    if told.get("kind", "level") != "level":
        return _event_entry(told, tenant_id=tenant_id, where=where)
    told = {key: value for key, value in told.items() if key != "kind"}
    for needed in ("code", "station", "thresholds"):
        if not told.get(needed):
            raise BadRuleFile(f"{where}: {needed}: is missing")
    site = sites.find(str(told["station"]), str(told.get("quantity", "level")), where)
    rest = {key: value for key, value in told.items() if key not in _OWN}
    rest.setdefault("interval_s", site.interval_s)
    rest.setdefault("place", {"en": site.name})
    rest["quantity"] = site.quantity
    try:
        named: dict[str, float] = {}
        for stage, value in dict(told["thresholds"]).items():
            if value in (None, "", 0):
                continue  # the station list has no such stage
            one = stages.get(stage) or (level(stage) if stage.upper() in Level.__members__ else level_of_stage(stage))
            if one.word in named:
                raise BadRuleFile(f"{where}: thresholds: two of them are {one.word}")
            if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
                raise BadRuleFile(f"{where}: thresholds: {stage} is not a number: {value!r}")
            named[one.word] = float(value)
        rule = from_definition(
            rule_id=derived_id("rule", tenant_id, str(told["code"])),
            version=1,
            tenant_id=tenant_id,
            code=str(told["code"]),
            datastream_id=site.datastream_id,
            definition=rest | {"thresholds": named},
        )
    except (BadRule, UnknownLevel, TypeError, ValueError) as error:
        raise BadRuleFile(f"{where}: {error}") from error
    return RuleEntry(
        rule=rule,
        site=site,
        area=_area(told, site, where),
        area_desc=_names(told.get("area_desc"), where) or {"en": site.name},
        effective_from=_time(told.get("effective_from"), where),
    )


def _event_entry(told: Mapping[str, Any], *, tenant_id: UUID, where: str) -> RuleEntry:
    """A rule of footprints or bulletins: its area is the event's own."""
    if not told.get("code"):
        raise BadRuleFile(f"{where}: code: is missing")
    code = str(told["code"])
    try:
        rule = event_rule(
            rule_id=derived_id("rule", tenant_id, code),
            version=1,
            tenant_id=tenant_id,
            code=code,
            definition={key: value for key, value in told.items() if key not in ("code", "effective_from")},
        )
    except (BadRule, UnknownLevel) as error:
        raise BadRuleFile(f"{where}: {error}") from error
    starts = _time(told.get("effective_from"), where)
    return RuleEntry(rule=rule, site=None, area=None, area_desc={}, effective_from=starts)


def _names(told: Any, where: str) -> dict[str, str]:
    if told is None:
        return {}
    if not isinstance(told, dict) or not all(isinstance(one, str) and one for one in told.values()):
        raise BadRuleFile(f"{where}: area_desc: must be an object of language and text")
    return dict(told)


def _time(told: Any, where: str) -> datetime | None:
    if told is None:
        return None
    try:
        at = datetime.fromisoformat(str(told))
    except ValueError:
        raise BadRuleFile(f"{where}: effective_from: is not a time: {told!r}") from None
    if at.tzinfo is None:
        raise BadRuleFile(f"{where}: effective_from: needs its offset from UTC: {told!r}")
    return at


def _area(told: Mapping[str, Any], site: Site, where: str) -> BaseGeometry | None:
    """The polygon; none where the file gives none: then nobody can be warned, and every draft is held."""
    if told.get("area") is not None and told.get("radius_km") is not None:
        raise BadRuleFile(f"{where}: area and radius_km: give one of them")
    if told.get("area") is not None:
        try:
            area = shape(told["area"])
        except (ShapelyError, TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
            raise BadRuleFile(f"{where}: area: is not a GeoJSON geometry: {error!r}") from error
        if area.geom_type not in ("Polygon", "MultiPolygon") or area.is_empty:
            raise BadRuleFile(f"{where}: area: must be a polygon, is {area.geom_type}")
        if not area.is_valid:
            raise BadRuleFile(f"{where}: area: {shapely.is_valid_reason(area)}")
        west, south, east, north = area.bounds
        if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
            raise BadRuleFile(f"{where}: area: its corners are not longitude, latitude in degrees")
        return area
    radius_km = told.get("radius_km")
    if radius_km is None:
        return None
    if isinstance(radius_km, bool) or not isinstance(radius_km, int | float) or not 0 < radius_km <= 200:
        raise BadRuleFile(f"{where}: radius_km: must be above 0 and at most 200: {radius_km!r}")
    if site.lon is None or site.lat is None:
        raise BadRuleFile(f"{where}: radius_km: the station {site.code!r} has no position")
    return circle(site.lon, site.lat, float(radius_km))


def read_stations(
    text: str, *, tenant_id: UUID, sites: Sites, name: str, radius_km: float | None, **more: Any
) -> list[RuleEntry]:
    """A rule for each station of a list (station_name, alert_m, minor_flood_m, major_flood_m; 0 or blank: no stage).

    A station without any stage gets no rule. `more` are arguments of `LevelRule`.
    """
    reader = csv.DictReader(io.StringIO(text))
    missing = [one for one in ("station_name", *STAGE_COLUMNS) if one not in (reader.fieldnames or ())]
    if missing:
        raise BadRuleFile(f"{name}: column {missing[0]} is missing")
    entries: list[RuleEntry] = []
    seen: set[str] = set()
    for line, row in enumerate(reader, 2):
        where = f"{name}, line {line}"
        station = row["station_name"] or ""
        if station in seen:
            raise BadRuleFile(f"{where}: station_name: {station!r} stands twice")
        seen.add(station)
        thresholds: dict[str, float] = {}
        for column, stage in STAGE_COLUMNS.items():
            value = (row[column] or "").strip()
            try:
                number = float(value or 0)
            except ValueError:
                raise BadRuleFile(f"{where}: {column}: is not a level in metres: {value!r}") from None
            if not isfinite(number) or number < 0:
                raise BadRuleFile(f"{where}: {column}: is not a level in metres: {value!r}")
            if number > 0:
                thresholds[stage] = number
        if not thresholds:
            continue
        site = sites.find(station, "level", where)
        try:
            rule = level_rule(
                tenant_id=tenant_id,
                code=f"official:{site.code}",
                datastream_id=site.datastream_id,
                thresholds=thresholds,
                interval=timedelta(seconds=site.interval_s),
                place={"en": site.name},
                **more,
            )
        except BadRule as error:
            raise BadRuleFile(f"{where}: {error}") from error
        area = _area({"radius_km": radius_km}, site, where)
        entries.append(RuleEntry(rule=rule, site=site, area=area, area_desc={"en": site.name}, effective_from=None))
    return entries


def told(entry: RuleEntry) -> dict[str, Any]:
    """The rule as a file has it."""
    if isinstance(entry.rule, EventRule):
        return {"code": entry.rule.code, **event_definition(entry.rule)}
    assert entry.site is not None
    return {"code": entry.rule.code, "station": entry.site.code, **definition(entry.rule)}


def written(entry: RuleEntry) -> dict[str, Any]:
    """The rule as a file has it, with its area: whole without the file's own words for stages."""
    whole = told(entry)
    if entry.site is not None:
        whole["area_desc"] = dict(entry.area_desc)
        if entry.area is not None:
            whole["area"] = json.loads(shapely.to_geojson(entry.area))
    if entry.effective_from is not None:
        whole["effective_from"] = entry.effective_from.isoformat()
    return whole
