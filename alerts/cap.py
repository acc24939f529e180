"""CAP 1.2 messages that we send (OASIS, Common Alerting Protocol Version 1.2, 1 July 2010).

What a message is, and the reading of others' documents, is ingest/cap (docs/adr/0085). CAP writes places `lat,lon`;
they are turned here on the way out, and in ingest/cap/read.py on the way in, and nowhere else.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

import shapely
from lxml import etree
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from alerts.alert import Alert
from alerts.cap_circle import circle_of
from alerts.level import CAP_SEVERITY, Level
from ingest.cap.message import NAMESPACE, BadCap, CapArea, CapInfo, CapMessage
from ingest.cap.structure import check_tree


def time_text(at: datetime) -> str:
    """A time as CAP writes it: seconds, and an offset that is never `Z` (section 3.3.2)."""
    if at.tzinfo is None:
        raise BadCap("A time in a CAP message must carry its offset.", time=at.isoformat())
    return at.isoformat(timespec="seconds")


def to_xml(message: CapMessage) -> bytes:
    """The document of a message, UTF-8; raises BadCap when the message is not one."""
    root = etree.Element(f"{{{NAMESPACE}}}alert", nsmap={None: NAMESPACE})
    _put(root, "identifier", message.identifier)
    _put(root, "sender", message.sender)
    _put(root, "sent", time_text(message.sent))
    _put(root, "status", message.status)
    _put(root, "msgType", message.msg_type)
    _put(root, "source", message.source)
    _put(root, "scope", message.scope)
    _put(root, "restriction", message.restriction)
    _put(root, "addresses", message.addresses)
    _put_all(root, "code", message.code)
    _put(root, "note", message.note)
    _put(root, "references", " ".join(message.references) or None)
    _put(root, "incidents", message.incidents)
    for info in message.info:
        _put_info(root, info)
    document: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    problems = check_tree(root)
    if problems:
        raise BadCap(f"The message would not be CAP 1.2: {problems[0]}", n_problems=len(problems))
    return document


def _put(parent: etree._Element, name: str, text: str | None) -> None:
    if text is None:
        return
    child = etree.SubElement(parent, f"{{{NAMESPACE}}}{name}")
    try:
        child.text = text
    except ValueError as error:
        raise BadCap("XML cannot carry this text.", element=name, text=text[:60]) from error


def _put_all(parent: etree._Element, name: str, texts: Iterable[str]) -> None:
    for text in texts:
        _put(parent, name, text)


def _put_pairs(parent: etree._Element, name: str, pairs: Iterable[tuple[str, str]]) -> None:
    for value_name, value in pairs:
        child = etree.SubElement(parent, f"{{{NAMESPACE}}}{name}")
        _put(child, "valueName", value_name)
        _put(child, "value", value)


def _put_info(root: etree._Element, info: CapInfo) -> None:
    element = etree.SubElement(root, f"{{{NAMESPACE}}}info")
    _put(element, "language", info.language)
    _put_all(element, "category", info.category)
    _put(element, "event", info.event)
    _put_all(element, "responseType", info.response_type)
    _put(element, "urgency", info.urgency)
    _put(element, "severity", info.severity)
    _put(element, "certainty", info.certainty)
    _put(element, "audience", info.audience)
    _put_pairs(element, "eventCode", info.event_code)
    for name, at in (("effective", info.effective), ("onset", info.onset), ("expires", info.expires)):
        _put(element, name, time_text(at) if at is not None else None)
    _put(element, "senderName", info.sender_name)
    _put(element, "headline", info.headline)
    _put(element, "description", info.description)
    _put(element, "instruction", info.instruction)
    _put(element, "web", info.web)
    _put(element, "contact", info.contact)
    _put_pairs(element, "parameter", info.parameter)
    for resource in info.resource:
        child = etree.SubElement(element, f"{{{NAMESPACE}}}resource")
        _put(child, "resourceDesc", resource.resource_desc)
        _put(child, "mimeType", resource.mime_type)
        _put(child, "size", str(resource.size) if resource.size is not None else None)
        _put(child, "uri", resource.uri)
        _put(child, "derefUri", resource.deref_uri)
        _put(child, "digest", resource.digest)
    for area in info.area:
        child = etree.SubElement(element, f"{{{NAMESPACE}}}area")
        _put(child, "areaDesc", area.area_desc)
        for ring in area.polygons:
            if len(ring) < 4 or ring[0] != ring[-1]:
                raise BadCap("A polygon must be closed and have at least four places.", n_places=len(ring))
            _put(child, "polygon", " ".join(f"{_number(lat)},{_number(lon)}" for lon, lat in ring))
        for lon, lat, radius_km in area.circles:
            _put(child, "circle", f"{_number(lat)},{_number(lon)} {_number(radius_km)}")
        _put_pairs(child, "geocode", area.geocodes)
        _put(child, "altitude", area.altitude)
        _put(child, "ceiling", area.ceiling)


def _number(value: float) -> str:
    """Without an exponent, and exactly the digits that give the same number back."""
    return format(Decimal(repr(float(value))), "f")


# ---------------------------------------------------------------- our warnings as CAP

_URGENCY = {Level.BLUE: "Future", Level.YELLOW: "Expected", Level.ORANGE: "Expected", Level.RED: "Immediate"}
_RESPONSE = {Level.BLUE: "Monitor", Level.YELLOW: "Prepare", Level.ORANGE: "Avoid", Level.RED: "Evacuate"}
_CATEGORY = {"earthquake": "Geo", "fire": "Fire"}


def rings(area: BaseGeometry) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Closed (lon, lat) rings, one a polygon. CAP knows no holes: a hole is warned with what surrounds it."""
    parts: list[Polygon] = [part for part in getattr(area, "geoms", [area]) if not part.is_empty]
    return tuple(tuple((float(x), float(y)) for x, y in shapely.get_coordinates(part.exterior)) for part in parts)


def shapes(
    area: BaseGeometry,
) -> tuple[tuple[tuple[tuple[float, float], ...], ...], tuple[tuple[float, float, float], ...]]:
    """(polygons, circles) of an area: what came in as a circle leaves as one."""
    polygons: list[tuple[tuple[float, float], ...]] = []
    circles: list[tuple[float, float, float]] = []
    for part in (one for one in getattr(area, "geoms", [area]) if not one.is_empty):
        circle = circle_of(part)
        if circle is None:
            polygons += rings(part)
        else:
            circles.append(circle)
    return tuple(polygons), tuple(circles)


def _quoted(incident: str) -> str:
    """An incident as CAP lists them: separated by white space, so one that holds any stands in quotes."""
    return f'"{incident}"' if any(one.isspace() for one in incident) else incident


def of_alert(alert: Alert, *, sender_name: str | None = None, web: str | None = None) -> CapMessage:
    """Our warning as a CAP message: one `info` a language; an all-clear is an Update with responseType AllClear.

    A Cancel says why in `note`. The level stands in the parameter `tocsin:level`, so that it comes back exactly; what
    the tenant calls it in `tocsin:stage`. `source` is the authority whose bulletin is passed on, `incidents` what the
    warnings of one event have in common.
    """
    if alert.area is None:
        raise BadCap("A warning without an area is no message.", identifier=alert.identifier)
    over = alert.all_clear or alert.msg_type == "Cancel"
    polygons, circles = shapes(alert.area)
    parameters = (("tocsin:level", alert.level.word), ("tocsin:reason", alert.reason))

    def named(language: str) -> tuple[tuple[str, str], ...]:
        stage = alert.stage.get(language) or next(iter(alert.stage.values()), None)
        return (*parameters, ("tocsin:stage", stage)) if stage and not over else parameters

    info = tuple(
        CapInfo(
            language={"en": "en-US", "zh": "zh-CN"}.get(language, language),
            category=(_CATEGORY.get(alert.event, "Met"),),
            event=alert.event,
            response_type=("AllClear",) if alert.all_clear else ("None",) if over else (_RESPONSE[alert.level],),
            urgency="Past" if over else _URGENCY[alert.level],
            severity="Minor" if over else alert.severity or CAP_SEVERITY[alert.level],
            certainty=alert.certainty or "Observed",
            effective=alert.sent_at.astimezone(UTC),
            onset=alert.onset_at.astimezone(UTC) if alert.onset_at else None,
            expires=alert.expires_at.astimezone(UTC),
            sender_name=sender_name,
            headline=text.headline,
            description=text.description,
            instruction=text.instruction,
            web=web,
            parameter=named(language),
            area=(
                CapArea(
                    area_desc=alert.area_desc.get(language) or next(iter(alert.area_desc.values()), "?"),
                    polygons=polygons,
                    circles=circles,
                ),
            ),
        )
        for language, text in sorted(alert.texts.items())
    )
    return CapMessage(
        identifier=alert.identifier,
        sender=alert.sender,
        sent=alert.sent_at.astimezone(UTC),
        status=alert.status,
        msg_type=alert.msg_type,
        scope="Public",
        source=alert.authority,
        incidents=_quoted(alert.incident) if alert.incident is not None else None,
        note="Issued in error." if alert.msg_type == "Cancel" else None,
        references=alert.references,
        info=info,
    )
