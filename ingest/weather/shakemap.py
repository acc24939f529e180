"""USGS ShakeMap: MMI contours of an event to areas of at least each intensity.

Contours are lines; many end at the map's edge. An area of at least level v is what the lines of v and the map's edge
enclose and what holds a line of a higher level: a ring that holds none is ground that shook less.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import shapely
from shapely.geometry import LineString, MultiLineString, Point, box, shape
from shapely.geometry.base import BaseGeometry
from shapely.ops import polygonize, unary_union

from ingest.weather.items import BadFeed, HazardSeen, Zone, a_list, a_number, a_place, a_time, an_object, read_json


def contours(body: bytes) -> tuple[list[tuple[float, BaseGeometry]], Point]:
    """(intensity, lines) from low to high, and the epicentre; raises BadFeed."""
    document = an_object(read_json(body), "contours")
    told = an_object(document.get("metadata"), "metadata")
    centre = Point(a_place(told.get("longitude"), told.get("latitude"), "metadata"))
    levels: dict[float, list[BaseGeometry]] = {}
    for n, feature in enumerate(a_list(document.get("features"), "features")):
        properties = an_object(feature.get("properties"), f"features[{n}].properties")
        if properties.get("units") != "mmi":
            raise BadFeed("Contours of MMI are read.", where=f"features[{n}]", units=properties.get("units"))
        try:
            lines = shape(feature["geometry"])
        except (KeyError, TypeError, ValueError, shapely.errors.GEOSException) as error:
            raise BadFeed("This is no geometry.", where=f"features[{n}]") from error
        if not isinstance(lines, LineString | MultiLineString):
            raise BadFeed("Contours are lines.", where=f"features[{n}]", kind=lines.geom_type)
        levels.setdefault(a_number(properties.get("value"), f"features[{n}].value"), []).append(lines)
    return [(value, unary_union(levels[value])) for value in sorted(levels)], centre


def zones(levels: Sequence[tuple[float, BaseGeometry]], centre: Point) -> tuple[Zone, ...]:
    """The area of at least each intensity, each within the one before."""
    if not levels:
        return ()
    edge: BaseGeometry = box(*unary_union([*(lines for _, lines in levels), centre]).bounds).boundary
    found: list[Zone] = []
    for k, (value, lines) in enumerate(levels):
        faces = list(polygonize(unary_union([lines, edge])))
        higher = unary_union([one for _, one in levels[k + 1 :]]) if k + 1 < len(levels) else None
        if higher is not None:
            kept = [face for face in faces if face.intersection(higher).length > 0]
        else:
            # Inside the highest lines nothing tells more from less: the rings themselves count.
            kept = [face for face in faces if not face.touches(edge)]
        # The epicentre is a last resort: beside a long fault it may lie outside the strongest shaking.
        kept = kept or [face for face in faces if face.contains(centre)]
        area = unary_union(kept)
        if not area.is_empty:
            found.append(Zone(intensity=value, unit="MMI", geometry=area))
    return tuple(found)


def parse(info: bytes, mmi: bytes) -> HazardSeen:
    """One version of a ShakeMap from its info.json and its MMI contours; raises BadFeed."""
    document = an_object(read_json(info), "info")
    event = an_object(an_object(document.get("input"), "input").get("event_information"), "event_information")
    processing: Mapping[str, Any] = document.get("processing") or {}
    versions: Mapping[str, Any] = processing.get("shakemap_versions") or {}
    started = a_time(event.get("origin_time"), "origin_time")
    told = versions.get("process_time")
    updated: datetime = a_time(told, "process_time") if told else started
    levels, centre = contours(mmi)
    code = str(event.get("event_id") or event.get("id") or "")
    if not code:
        raise BadFeed("A ShakeMap needs its event's id.", where="event_information.event_id")
    scenario = str(event.get("event_type") or "").upper() == "SCENARIO"
    return HazardSeen(
        code=code,
        aliases=frozenset(
            str(one) for one in (event.get("id"), event.get("event_id"), event.get("eventsourcecode")) if one
        ),
        peril="earthquake",
        name=str(event.get("event_description") or event.get("location") or code),
        started_at=started,
        updated_at=updated,
        zones=zones(levels, centre),
        facts={
            "magnitude": a_number(event.get("magnitude"), "magnitude"),
            "depth_km": a_number(event.get("depth"), "depth"),
            "scenario": scenario,
            "shakemap_version": versions.get("map_version"),
        },
    )
