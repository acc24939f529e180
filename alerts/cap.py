"""CAP 1.2 messages (OASIS, Common Alerting Protocol Version 1.2, 1 July 2010): ours out, others' in.

`check` holds a document to the structure that the standard's schema asks for, without needing the schema: order and
number of elements, enumerations, times with an offset, no foreign attributes. A test shows it equal to the XSD.
What a sound structure may still get wrong in meaning is another layer's work.

CAP writes places `lat,lon`; they are turned here, and nowhere else.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import shapely
from lxml import etree
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from alerts.alert import Alert
from alerts.level import CAP_SEVERITY, Level
from core.errors import InvalidInput

NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"
_DSIG = "http://www.w3.org/2000/09/xmldsig#"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
#: A CAP message is small; what is larger is not one.
MAX_BYTES = 2 * 1024 * 1024


class BadCap(InvalidInput):
    """This is not a CAP 1.2 message."""


class CapRefused(BadCap):
    """This document is not read at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, and where."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


# ---------------------------------------------------------------- the message


@dataclass(frozen=True, slots=True, kw_only=True)
class CapArea:
    """An area; rings are closed and (lon, lat), circles (lon, lat, radius in km)."""

    area_desc: str
    polygons: tuple[tuple[tuple[float, float], ...], ...] = ()
    circles: tuple[tuple[float, float, float], ...] = ()
    geocodes: tuple[tuple[str, str], ...] = ()
    altitude: str | None = None
    ceiling: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CapResource:
    """A file that belongs to the message."""

    resource_desc: str
    mime_type: str
    size: int | None = None
    uri: str | None = None
    deref_uri: str | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CapInfo:
    """What is said, in one language."""

    category: tuple[str, ...]
    event: str
    urgency: str
    severity: str
    certainty: str
    language: str = "en-US"  #: the standard's default
    response_type: tuple[str, ...] = ()
    audience: str | None = None
    event_code: tuple[tuple[str, str], ...] = ()
    effective: datetime | None = None
    onset: datetime | None = None
    expires: datetime | None = None
    sender_name: str | None = None
    headline: str | None = None
    description: str | None = None
    instruction: str | None = None
    web: str | None = None
    contact: str | None = None
    parameter: tuple[tuple[str, str], ...] = ()
    resource: tuple[CapResource, ...] = ()
    area: tuple[CapArea, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CapMessage:
    """One CAP message; names as in the standard, in Python's spelling."""

    identifier: str
    sender: str
    sent: datetime
    status: str
    msg_type: str
    scope: str
    source: str | None = None
    restriction: str | None = None
    addresses: str | None = None
    code: tuple[str, ...] = ()
    note: str | None = None
    references: tuple[str, ...] = ()
    incidents: str | None = None
    info: tuple[CapInfo, ...] = field(default_factory=tuple)


# ---------------------------------------------------------------- structure

_ENUMS: Mapping[str, frozenset[str]] = {
    "status": frozenset({"Actual", "Exercise", "System", "Test", "Draft"}),
    "msgType": frozenset({"Alert", "Update", "Cancel", "Ack", "Error"}),
    "scope": frozenset({"Public", "Restricted", "Private"}),
    "category": frozenset(
        "Geo Met Safety Security Rescue Fire Health Env Transport Infra CBRNE Other".split()  # noqa: SIM905
    ),
    "responseType": frozenset(
        "Shelter Evacuate Prepare Execute Avoid Monitor Assess AllClear None".split()  # noqa: SIM905
    ),
    "urgency": frozenset({"Immediate", "Expected", "Future", "Past", "Unknown"}),
    "severity": frozenset({"Extreme", "Severe", "Moderate", "Minor", "Unknown"}),
    "certainty": frozenset({"Observed", "Likely", "Possible", "Unlikely", "Unknown"}),
}

_MANY = 10**9
#: element -> its children in order: (name, at least, at most). Section 3.2 of the standard.
_CHILDREN: Mapping[str, Sequence[tuple[str, int, int]]] = {
    "alert": (
        ("identifier", 1, 1),
        ("sender", 1, 1),
        ("sent", 1, 1),
        ("status", 1, 1),
        ("msgType", 1, 1),
        ("source", 0, 1),
        ("scope", 1, 1),
        ("restriction", 0, 1),
        ("addresses", 0, 1),
        ("code", 0, _MANY),
        ("note", 0, 1),
        ("references", 0, 1),
        ("incidents", 0, 1),
        ("info", 0, _MANY),
    ),
    "info": (
        ("language", 0, 1),
        ("category", 1, _MANY),
        ("event", 1, 1),
        ("responseType", 0, _MANY),
        ("urgency", 1, 1),
        ("severity", 1, 1),
        ("certainty", 1, 1),
        ("audience", 0, 1),
        ("eventCode", 0, _MANY),
        ("effective", 0, 1),
        ("onset", 0, 1),
        ("expires", 0, 1),
        ("senderName", 0, 1),
        ("headline", 0, 1),
        ("description", 0, 1),
        ("instruction", 0, 1),
        ("web", 0, 1),
        ("contact", 0, 1),
        ("parameter", 0, _MANY),
        ("resource", 0, _MANY),
        ("area", 0, _MANY),
    ),
    "resource": (
        ("resourceDesc", 1, 1),
        ("mimeType", 1, 1),
        ("size", 0, 1),
        ("uri", 0, 1),
        ("derefUri", 0, 1),
        ("digest", 0, 1),
    ),
    "area": (
        ("areaDesc", 1, 1),
        ("polygon", 0, _MANY),
        ("circle", 0, _MANY),
        ("geocode", 0, _MANY),
        ("altitude", 0, 1),
        ("ceiling", 0, 1),
    ),
    **dict.fromkeys(("eventCode", "parameter", "geocode"), (("valueName", 1, 1), ("value", 1, 1))),
}

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)([-+])(\d\d):(\d\d)", re.ASCII)
_LANGUAGE = re.compile(r"[a-zA-Z]{1,8}(-[a-zA-Z0-9]{1,8})*")
_INTEGER = re.compile(r"[-+]?\d{1,24}", re.ASCII)
_DECIMAL = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)", re.ASCII)
_XML_SPACE = " \t\r\n"

# RFC 3986, appendix A: a URI reference. Characters that XML Schema allows beyond it count as escaped.
_PCT = r"%[0-9A-Fa-f]{2}"
_UNRESERVED = r"A-Za-z0-9\-._~"
_SUB = r"!$&'()*+,;="
_PCHAR = rf"(?:[{_UNRESERVED}{_SUB}:@]|{_PCT})"
_SEGMENTS = rf"(?:/{_PCHAR}*)*"
_AUTHORITY = (
    rf"(?:(?:[{_UNRESERVED}{_SUB}:]|{_PCT})*@)?"
    rf"(?:\[[^\]/?#]*\]|(?:[{_UNRESERVED}{_SUB}]|{_PCT})*)(?::[0-9]*)?"
)
_TAIL = rf"(?:\?(?:{_PCHAR}|[/?])*)?(?:#(?:{_PCHAR}|[/?\[\]])*)?"  # brackets in a fragment: XPointer, as libxml2 has it
_URI = re.compile(
    rf"(?:[A-Za-z][A-Za-z0-9+\-.]*:(?://{_AUTHORITY}{_SEGMENTS}|/(?:{_PCHAR}+{_SEGMENTS})?|{_PCHAR}+{_SEGMENTS}|)"
    rf"|//{_AUTHORITY}{_SEGMENTS}|/(?:{_PCHAR}+{_SEGMENTS})?"
    rf"|(?:[{_UNRESERVED}{_SUB}@]|{_PCT})+{_SEGMENTS}|){_TAIL}"
)
_ESCAPED_IN_URI = re.compile(r"[^\x21-\x7e]|[<>\"{}|\\^`]")


def _collapse(text: str) -> str:
    return " ".join(part for part in re.split(f"[{_XML_SPACE}]+", text) if part)


def _is_time(text: str) -> bool:
    found = _TIME.fullmatch(_collapse(text))
    if not found:
        return False
    year, month, day, hour, minute, second = (int(found[i]) for i in range(1, 7))
    zone_h, zone_m = int(found[8]), int(found[9])
    if year == 0 or not 1 <= month <= 12 or zone_m > 59 or zone_h * 60 + zone_m > 14 * 60:
        return False
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]
    end_of_day = (hour, minute, second) == (24, 0, 0)
    return 1 <= day <= days and minute <= 59 and second <= 59 and (hour <= 23 or end_of_day)


def _is_uri(text: str) -> bool:
    return _URI.fullmatch(_ESCAPED_IN_URI.sub("_", _collapse(text))) is not None


_SIMPLE: Mapping[str, tuple[Callable[[str], bool], str]] = {
    **dict.fromkeys(("sent", "effective"), (_is_time, "is not a time of the form 2026-11-23T09:28:50+00:00")),
    **dict.fromkeys(("onset", "expires"), (_is_time, "is not a time of the form 2026-11-23T09:28:50+00:00")),
    # an empty element takes the schema's default, en-US
    "language": (lambda text: text == "" or bool(_LANGUAGE.fullmatch(_collapse(text))), "is not a language tag"),
    "size": (lambda text: bool(_INTEGER.fullmatch(_collapse(text))), "is not a whole number"),
    "altitude": (lambda text: bool(_DECIMAL.fullmatch(_collapse(text))), "is not a decimal number"),
    "ceiling": (lambda text: bool(_DECIMAL.fullmatch(_collapse(text))), "is not a decimal number"),
    "web": (_is_uri, "is not a URI"),
    "uri": (_is_uri, "is not a URI"),
}


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=False
    )


_DOCTYPE = re.compile(rb"<!\s*DOCTYPE|<!\s*ENTITY", re.IGNORECASE)
_DECLARED = re.compile(rb"""<\?xml[^>]*encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
_ENCODINGS = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "utf-16", "utf-16le", "utf-16be"})


def parse(document: bytes) -> etree._Element:
    """The root of a document; raises CapRefused for what is not even parsed: DOCTYPE, odd encodings, size, bad XML.

    The DOCTYPE is looked for in the bytes, before any parser sees them: entities are a parser's first work.
    """
    if len(document) > MAX_BYTES:
        raise CapRefused("This document is too large to be a CAP message.", n_bytes=len(document), limit=MAX_BYTES)
    if b"\0" in document[:64] or document[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            plain = document.decode("utf-16").encode()
        except UnicodeDecodeError as error:
            raise CapRefused("This document's encoding is not UTF-8 or UTF-16.") from error
    else:
        plain = document
    declared = _DECLARED.match(plain.lstrip(b"\xef\xbb\xbf"))
    if declared and declared[1].decode("ascii").lower() not in _ENCODINGS:
        raise CapRefused("This document's encoding is not one we read.", encoding=declared[1].decode("ascii"))
    if _DOCTYPE.search(plain):
        raise CapRefused("A document with a DOCTYPE is not read.")
    try:
        return etree.fromstring(document, parser=_parser())
    except (etree.XMLSyntaxError, ValueError) as error:
        raise CapRefused(f"This is not well-formed XML: {error}") from error


def check(document: bytes) -> list[Problem]:
    """What is wrong with the structure of a document, in its order; empty when it is a CAP 1.2 message."""
    try:
        root = parse(document)
    except CapRefused as error:
        return [Problem(where="document", what=str(error))]
    return check_tree(root)


def check_tree(root: etree._Element) -> list[Problem]:
    """`check` for a parsed document."""
    if root.tag != f"{{{NAMESPACE}}}alert":
        return [Problem(where=_short(root), what=f"the root must be 'alert' in namespace {NAMESPACE}")]
    problems: list[Problem] = []
    _check_element(root, "alert", "alert", problems)
    return problems


def _short(element: etree._Element) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else "entity"


def _check_element(element: etree._Element, name: str, path: str, problems: list[Problem]) -> None:
    for attribute in element.attrib:
        if etree.QName(attribute).namespace != _XSI or etree.QName(attribute).localname not in (
            "schemaLocation",
            "noNamespaceSchemaLocation",
        ):
            problems.append(Problem(where=path, what=f"attribute '{attribute}' is not allowed"))
    children = [child for child in element if isinstance(child.tag, str)]
    if any(child.tag is etree.Entity for child in element):
        problems.append(Problem(where=path, what="an entity reference is not allowed"))
    if name not in _CHILDREN:
        if children:
            problems.append(Problem(where=path, what=f"element '{_short(children[0])}' is not allowed here"))
            return
        _check_text(
            "".join(element.itertext(with_tail=False)) if not len(element) else _text(element), name, path, problems
        )
        return
    if (element.text or "").strip(_XML_SPACE) or any((child.tail or "").strip(_XML_SPACE) for child in element):
        problems.append(Problem(where=path, what="text is not allowed here"))
    _check_children(children, name, path, problems)


def _text(element: etree._Element) -> str:
    """The element's own text, with comments and processing instructions left out."""
    return (element.text or "") + "".join(child.tail or "" for child in element)


def _check_text(text: str, name: str, path: str, problems: list[Problem]) -> None:
    allowed = _ENUMS.get(name)
    if allowed is not None and text not in allowed:
        problems.append(Problem(where=path, what=f"{text[:60]!r} is none of {', '.join(sorted(allowed))}"))
    simple = _SIMPLE.get(name)
    if simple is not None and not simple[0](text):
        problems.append(Problem(where=path, what=f"{text[:60]!r} {simple[1]}"))


def _check_children(children: list[etree._Element], name: str, path: str, problems: list[Problem]) -> None:
    index = 0
    for child_name, least, most in _CHILDREN[name]:
        count = 0
        while index < len(children) and count < most and children[index].tag == f"{{{NAMESPACE}}}{child_name}":
            count += 1
            here = f"{path}/{child_name}" + (f"[{count}]" if most > 1 else "")
            _check_element(children[index], child_name, here, problems)
            index += 1
        if count < least:
            problems.append(Problem(where=path, what=f"element '{child_name}' is missing or out of order"))
    if name == "alert":
        while index < len(children) and etree.QName(children[index]).namespace == _DSIG:
            _check_lax(children[index], f"{path}/{_short(children[index])}", problems)
            index += 1
    if index < len(children):
        problems.append(Problem(where=path, what=f"element '{_short(children[index])}' is not allowed here"))


def _check_lax(element: etree._Element, path: str, problems: list[Problem]) -> None:
    """Inside a signature anything goes, but what the schema knows is held to it (processContents="lax")."""
    for child in element:
        if not isinstance(child.tag, str):
            continue
        name = _short(child)
        if child.tag == f"{{{NAMESPACE}}}{name}" and name in ("alert", "valueName", "value"):
            _check_element(child, name, f"{path}/{name}", problems)
        else:
            _check_lax(child, f"{path}/{name}", problems)


# ---------------------------------------------------------------- in


def from_xml(document: bytes) -> CapMessage:
    """The message of a document; raises CapRefused for what is not read, BadCap naming what is wrong in it."""
    root = parse(document)
    problems = check_tree(root)
    if problems:
        raise BadCap(f"This is not a CAP 1.2 message: {problems[0]}", n_problems=len(problems))
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
        return tuple(_text(one) for one in self.elements(name))

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
    told = _collapse(text)
    # the standard's own grammar knows 24:00:00, Python does not
    if told[11:19] == "24:00:00":
        raise BadCap("The time 24:00:00 is not read; write 00:00:00 of the next day.", time=told)
    try:
        return datetime.fromisoformat(told)
    except ValueError as error:
        raise BadCap(f"This time cannot be read: {told}") from error


def _info(element: etree._Element) -> CapInfo:
    get = _Getter(element)
    return CapInfo(
        language=_collapse(get.maybe("language") or "") or "en-US",
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
    return _collapse(text) if text is not None else None


def _resource(element: etree._Element) -> CapResource:
    get = _Getter(element)
    size = get.maybe("size")
    return CapResource(
        resource_desc=get.text("resourceDesc"),
        mime_type=get.text("mimeType"),
        size=int(_collapse(size)) if size is not None else None,
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
        altitude=_collapse(altitude) if altitude is not None else None,
        ceiling=_collapse(ceiling) if ceiling is not None else None,
    )


def _place(text: str) -> tuple[float, float]:
    try:
        lat, lon = (float(part) for part in text.split(","))
    except ValueError as error:
        raise BadCap("A place is written 'lat,lon'.", place=text[:60]) from error
    if not (-90 <= lat <= 90 and -180 <= lon <= 180):
        raise BadCap("A place lies off the earth; CAP writes latitude first.", place=text[:60])
    return lon, lat


def _ring(text: str) -> tuple[tuple[float, float], ...]:
    places = tuple(_place(part) for part in text.split())
    if len(places) < 4 or places[0] != places[-1]:
        raise BadCap("A polygon has at least four places, and the last is the first again.", n_places=len(places))
    return places


def _circle(text: str) -> tuple[float, float, float]:
    place, _, radius = text.strip().partition(" ")
    try:
        radius_km = float(radius)
    except ValueError as error:
        raise BadCap("A circle is written 'lat,lon radius'.", circle=text[:60]) from error
    if not 0 <= radius_km < 20_100:
        raise BadCap("A circle's radius is in kilometres and fits on the earth.", circle=text[:60])
    return (*_place(place), radius_km)


# ---------------------------------------------------------------- out


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


def of_alert(alert: Alert, *, sender_name: str | None = None, web: str | None = None) -> CapMessage:
    """Our warning as a CAP message: one `info` a language; an all-clear is an Update with responseType AllClear.

    A Cancel says why in `note`. The level stands in the parameter `tocsin:level`, so that it comes back exactly.
    """
    if alert.area is None:
        raise BadCap("A warning without an area is no message.", identifier=alert.identifier)
    over = alert.all_clear or alert.msg_type == "Cancel"
    parameters = (("tocsin:level", alert.level.word), ("tocsin:reason", alert.reason))
    info = tuple(
        CapInfo(
            language={"en": "en-US", "zh": "zh-CN"}.get(language, language),
            category=(_CATEGORY.get(alert.event, "Met"),),
            event=alert.event,
            response_type=("AllClear",) if alert.all_clear else ("None",) if over else (_RESPONSE[alert.level],),
            urgency="Past" if over else _URGENCY[alert.level],
            severity="Minor" if over else CAP_SEVERITY[alert.level],
            certainty="Observed",
            effective=alert.sent_at.astimezone(UTC),
            onset=alert.onset_at.astimezone(UTC) if alert.onset_at else None,
            expires=alert.expires_at.astimezone(UTC),
            sender_name=sender_name,
            headline=text.headline,
            description=text.description,
            instruction=text.instruction,
            web=web,
            parameter=parameters,
            area=(
                CapArea(
                    area_desc=alert.area_desc.get(language) or next(iter(alert.area_desc.values()), "?"),
                    polygons=rings(alert.area),
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
        note="Issued in error." if alert.msg_type == "Cancel" else None,
        references=alert.references,
        info=info,
    )
