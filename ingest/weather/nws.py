"""NWS alerts (api.weather.gov GeoJSON) as CAP messages: most have no geometry, only zones.

The polygons of zones come from a table of our own (`tocsin feeds import --zones`); an alert whose zones are not all in
it is not narrowed to those that are: its place is not known. Times that cannot be read hold an alert.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shapely.geometry import MultiPolygon, Polygon, shape
from shapely.geometry.base import BaseGeometry

from ingest.cap.message import CapArea, CapInfo, CapMessage
from ingest.weather.items import BadFeed, Official, a_list, a_time, an_object, read_json

Zones = Mapping[str, BaseGeometry]


def zones(body: bytes) -> dict[str, BaseGeometry]:
    """Polygons by zone code (`ALZ024`) of a GeoJSON of zones; raises BadFeed."""
    found: dict[str, BaseGeometry] = {}
    for n, feature in enumerate(a_list(an_object(read_json(body), "zones").get("features"), "features")):
        properties = an_object(feature.get("properties"), f"features[{n}].properties")
        code = str(properties.get("id") or properties.get("STATE_ZONE") or properties.get("UGC") or "").rpartition("/")[
            2
        ]
        if not code or feature.get("geometry") is None:
            raise BadFeed("A zone needs an id and a geometry.", where=f"features[{n}]")
        found[code] = shape(feature["geometry"])
    return found


def parse(body: bytes, known: Zones | None = None) -> tuple[list[Official], list[str]]:
    """The alerts of an answer in its order, and why others cannot be read; raises BadFeed where the whole cannot."""
    features = a_list(an_object(read_json(body), "alerts").get("features"), "features")
    found: list[Official] = []
    amiss: list[str] = []
    for n, one in enumerate(features):
        try:
            found.append(_alert(an_object(one, f"features[{n}]"), f"features[{n}]", known or {}))
        except BadFeed as error:  # one that cannot be read must not silence the others
            amiss.append(str(error))
    return found, amiss


def _alert(feature: Mapping[str, Any], where: str, known: Zones) -> Official:
    p = an_object(feature.get("properties"), f"{where}.properties")
    amiss: list[str] = []

    def when(name: str) -> datetime | None:
        if p.get(name) in (None, ""):
            return None
        try:
            return a_time(p[name], f"{where}.{name}")
        except BadFeed:
            amiss.append(f"{name} cannot be read: {str(p[name])[:40]!r}")
            return None

    sent = when("sent") or when("effective")
    if sent is None:
        raise BadFeed("An alert needs the time it was sent.", where=where)
    codes = [str(one).rpartition("/")[2] for one in p.get("affectedZones") or []]
    ugc = [str(one) for one in (p.get("geocode") or {}).get("UGC") or []]
    polygons = _rings(feature.get("geometry"), where)
    wanted = codes or ugc
    if not polygons and wanted:
        missing = [one for one in wanted if one not in known]
        if missing:
            amiss.append(f"no polygon is known for the zones {', '.join(missing[:5])}")
        else:
            polygons = tuple(ring for one in wanted for ring in _rings_of(known[one]))
    same = tuple(("SAME", str(one)) for one in (p.get("geocode") or {}).get("SAME") or [])
    area = CapArea(
        area_desc=str(p.get("areaDesc") or ""),
        polygons=polygons,
        geocodes=(*(("UGC", one) for one in dict.fromkeys([*ugc, *codes])), *same),
    )
    parameters = tuple(
        (str(name), str(value)) for name, values in (p.get("parameters") or {}).items() for value in values or []
    )
    info = CapInfo(
        category=(str(p.get("category") or "Met"),),
        event=str(p.get("event") or ""),
        urgency=str(p.get("urgency") or "Unknown"),
        severity=str(p.get("severity") or "Unknown"),
        certainty=str(p.get("certainty") or "Unknown"),
        response_type=(str(p["response"]),) if p.get("response") else (),
        effective=when("effective"),
        onset=when("onset"),
        expires=when("expires"),
        sender_name=p.get("senderName"),
        headline=p.get("headline"),
        description=p.get("description"),
        instruction=p.get("instruction"),
        parameter=parameters,  # VTEC stands among them
        area=(area,),
    )
    references = tuple(
        f"{one.get('sender')},{one.get('identifier')},{one.get('sent')}" for one in p.get("references") or []
    )
    message = CapMessage(
        identifier=str(p.get("id") or feature.get("id") or ""),
        sender=str(p.get("sender") or ""),
        sent=sent,
        status=str(p.get("status") or ""),
        msg_type=str(p.get("messageType") or ""),
        scope="Public",
        references=references,
        info=(info,),
    )
    return Official(message=message, raw=repr(feature).encode(), amiss=tuple(amiss))


def _rings(geometry: Any, where: str) -> tuple[tuple[tuple[float, float], ...], ...]:
    if geometry is None:
        return ()
    try:
        return _rings_of(shape(geometry))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadFeed("This is no geometry.", where=where) from error


def _rings_of(area: BaseGeometry) -> tuple[tuple[tuple[float, float], ...], ...]:
    parts = list(area.geoms) if isinstance(area, MultiPolygon) else [area]
    return tuple(
        tuple((float(x), float(y)) for x, y, *_ in one.exterior.coords) for one in parts if isinstance(one, Polygon)
    )
