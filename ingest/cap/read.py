"""A CAP document as a message: structure first, then values. CAP writes places `lat,lon`; they are turned here."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from lxml import etree

from ingest.cap.message import NAMESPACE, BadCap, CapArea, CapInfo, CapMessage, CapResource
from ingest.cap.structure import check_tree, collapse, parse, text_of


def from_xml(document: bytes) -> CapMessage:
    """The message of a document; raises CapRefused for what is not read, BadCap naming what is wrong in it."""
    root = parse(document)
    problems = check_tree(root)
    if problems:
        raise BadCap(f"This is not a CAP 1.2 message: {problems[0]}", n_problems=len(problems))
    return from_tree(root)


def from_tree(root: etree._Element) -> CapMessage:
    """The message of a tree whose structure was checked; raises BadCap for a place or time that cannot be."""
    get = _Getter(root)
    return CapMessage(
        identifier=get.text("identifier"),
        sender=get.text("sender"),
        sent=_time(get.text("sent")),
        status=get.text("status"),
        msg_type=get.text("msgType"),
        scope=get.text("scope"),
        source=get.maybe("source"),
        restriction=get.maybe("restriction"),
        addresses=get.maybe("addresses"),
        code=get.texts("code"),
        note=get.maybe("note"),
        references=tuple((get.maybe("references") or "").split()),
        incidents=get.maybe("incidents"),
        info=tuple(_info(one) for one in get.elements("info")),
    )


@dataclass(frozen=True, slots=True)
class _Getter:
    element: etree._Element

    def elements(self, name: str) -> list[etree._Element]:
        return list(self.element.iterchildren(f"{{{NAMESPACE}}}{name}"))

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(text_of(one) for one in self.elements(name))

    def maybe(self, name: str) -> str | None:
        return next(iter(self.texts(name)), None)

    def text(self, name: str) -> str:
        return self.texts(name)[0]

    def pairs(self, name: str) -> tuple[tuple[str, str], ...]:
        return tuple((_Getter(one).text("valueName"), _Getter(one).text("value")) for one in self.elements(name))

    def time(self, name: str) -> datetime | None:
        found = self.maybe(name)
        return _time(found) if found is not None else None


def _time(text: str) -> datetime:
    told = collapse(text)
    # the standard's own grammar knows 24:00:00, Python does not
    late = told[11:19] == "24:00:00"
    try:
        at = datetime.fromisoformat(told.replace("T24:", "T00:") if late else told)
        return at + timedelta(days=1) if late else at
    except (ValueError, OverflowError) as error:
        raise BadCap(f"This time cannot be read: {told}") from error


def _info(element: etree._Element) -> CapInfo:
    get = _Getter(element)
    return CapInfo(
        language=collapse(get.maybe("language") or "") or "en-US",
        category=get.texts("category"),
        event=get.text("event"),
        response_type=get.texts("responseType"),
        urgency=get.text("urgency"),
        severity=get.text("severity"),
        certainty=get.text("certainty"),
        audience=get.maybe("audience"),
        event_code=get.pairs("eventCode"),
        effective=get.time("effective"),
        onset=get.time("onset"),
        expires=get.time("expires"),
        sender_name=get.maybe("senderName"),
        headline=get.maybe("headline"),
        description=get.maybe("description"),
        instruction=get.maybe("instruction"),
        web=_uri(get.maybe("web")),
        contact=get.maybe("contact"),
        parameter=get.pairs("parameter"),
        resource=tuple(_resource(one) for one in get.elements("resource")),
        area=tuple(_area(one) for one in get.elements("area")),
    )


def _uri(text: str | None) -> str | None:
    return collapse(text) if text is not None else None


def _resource(element: etree._Element) -> CapResource:
    get = _Getter(element)
    size = get.maybe("size")
    return CapResource(
        resource_desc=get.text("resourceDesc"),
        mime_type=get.text("mimeType"),
        size=int(collapse(size)) if size is not None else None,
        uri=_uri(get.maybe("uri")),
        deref_uri=get.maybe("derefUri"),
        digest=get.maybe("digest"),
    )


def _area(element: etree._Element) -> CapArea:
    get = _Getter(element)
    altitude, ceiling = get.maybe("altitude"), get.maybe("ceiling")
    return CapArea(
        area_desc=get.text("areaDesc"),
        polygons=tuple(_ring(one) for one in get.texts("polygon")),
        circles=tuple(_circle(one) for one in get.texts("circle")),
        geocodes=get.pairs("geocode"),
        altitude=collapse(altitude) if altitude is not None else None,
        ceiling=collapse(ceiling) if ceiling is not None else None,
    )


_DECIMAL = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")


def _decimal(text: str) -> float:
    if not _DECIMAL.fullmatch(text) or len(text) > 400:
        raise ValueError(text)
    return float(text)


def _place(text: str) -> tuple[float, float]:
    try:
        lat, lon = (_decimal(part) for part in text.split(","))
    except ValueError as error:
        raise BadCap("A place is written 'lat,lon'.", place=text[:60]) from error
    if not (-90 <= lat <= 90 and -180 <= lon <= 180):
        if -180 <= lat <= 180 and -90 <= lon <= 90:
            raise BadCap("A place lies off the earth; CAP writes latitude first (swapped?).", place=text[:60])
        raise BadCap("A place lies off the earth; CAP writes latitude first.", place=text[:60])
    return lon, lat


def _ring(text: str) -> tuple[tuple[float, float], ...]:
    places = tuple(_place(part) for part in collapse(text).split(" ") if part)
    if len(places) < 4 or places[0] != places[-1]:
        raise BadCap("A polygon has at least four places, and the last is the first again.", n_places=len(places))
    return places


def _circle(text: str) -> tuple[float, float, float]:
    place, _, radius = collapse(text).partition(" ")
    try:
        radius_km = _decimal(radius)
    except ValueError as error:
        raise BadCap("A circle is written 'lat,lon radius'.", circle=text[:60]) from error
    if not 0 <= radius_km < 20_100:
        raise BadCap("A circle's radius is in kilometres and fits on the earth.", circle=text[:60])
    return (*_place(place), radius_km)
