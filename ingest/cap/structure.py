"""The structure that the standard's schema asks of a CAP document, held without the schema.

`parse` gives a tree or refuses; `check_tree` names what is out of order. A test shows `check` equal to the OASIS XSD.
What a sound structure may still get wrong in meaning is ingest/cap/meaning.py's work.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from lxml import etree

from ingest.cap.message import DSIG, NAMESPACE, CapRefused, Problem

_XSI = "http://www.w3.org/2001/XMLSchema-instance"
#: A CAP message is small; what is larger is not one.
MAX_BYTES = 2 * 1024 * 1024

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


def collapse(text: str) -> str:
    """The text with white space as XML Schema's `collapse` leaves it."""
    return " ".join(part for part in re.split(f"[{_XML_SPACE}]+", text) if part)


def _is_time(text: str) -> bool:
    found = _TIME.fullmatch(collapse(text))
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
    return _URI.fullmatch(_ESCAPED_IN_URI.sub("_", collapse(text))) is not None


_SIMPLE: Mapping[str, tuple[Callable[[str], bool], str]] = {
    **dict.fromkeys(("sent", "effective"), (_is_time, "is not a time of the form 2026-11-23T09:28:50+00:00")),
    **dict.fromkeys(("onset", "expires"), (_is_time, "is not a time of the form 2026-11-23T09:28:50+00:00")),
    # an empty element takes the schema's default, en-US
    "language": (lambda text: text == "" or bool(_LANGUAGE.fullmatch(collapse(text))), "is not a language tag"),
    "size": (lambda text: bool(_INTEGER.fullmatch(collapse(text))), "is not a whole number"),
    "altitude": (lambda text: bool(_DECIMAL.fullmatch(collapse(text))), "is not a decimal number"),
    "ceiling": (lambda text: bool(_DECIMAL.fullmatch(collapse(text))), "is not a decimal number"),
    "web": (_is_uri, "is not a URI"),
    "uri": (_is_uri, "is not a URI"),
}


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=False,
        encoding="utf-8",
    )


_DOCTYPE = re.compile(r"<!\s*(?:DOCTYPE|ENTITY|ELEMENT|ATTLIST|NOTATION)|<!\[\s*(?:INCLUDE|IGNORE|%)", re.IGNORECASE)
_DECLARATION = re.compile(
    r"""<\?xml\s+version\s*=\s*(["'])1\.[0-9]+\1(?:\s+encoding\s*=\s*(["'])([A-Za-z][A-Za-z0-9._-]*)\2)?"""
    r"""(?:\s+standalone\s*=\s*(["'])(?:yes|no)\4)?\s*\?>"""
)
#: the encodings that are read, and how Python names them
_ENCODINGS = {
    "utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "ascii", "ascii": "ascii", "iso-8859-1": "latin-1",
    "utf-16": "utf-16", "utf-16le": "utf-16", "utf-16be": "utf-16",
}  # fmt: skip
#: Whole documents nest seven deep; a signature some more.
_MAX_DEPTH = 64
MAX_ELEMENTS = 10_000


def decode(document: bytes, *, max_bytes: int = MAX_BYTES) -> tuple[str, str | None]:
    """The text of a document without its declaration, and the encoding that it declared; raises CapRefused.

    What is looked at here is what is parsed afterwards: the parser gets this text and makes no guess of its own.
    """
    if len(document) > max_bytes:
        raise CapRefused("This document is too large to be a CAP message.", n_bytes=len(document), limit=max_bytes)
    if not document.strip():
        raise CapRefused("This document is empty.")
    if document[:4] in (b"\x00\x00\xfe\xff", b"\xff\xfe\x00\x00", b"\x00\x00\x00<", b"<\x00\x00\x00"):
        raise CapRefused("This document's encoding is not one we read.", encoding="utf-32")
    wide = None
    if document[:2] == b"\xfe\xff" or document[:2] == b"\x00<":
        wide = "utf-16-be"
    elif document[:2] == b"\xff\xfe" or document[:2] == b"<\x00":
        wide = "utf-16-le"
    try:
        if wide is not None:
            text = document.decode(wide).removeprefix("\ufeff")
        else:
            head = document.removeprefix(b"\xef\xbb\xbf")[:256].decode("latin-1")
            told = _DECLARATION.match(head)
            declared = (told[3] or "utf-8").lower() if told else "utf-8"
            codec = _ENCODINGS.get(declared)
            if codec is None:
                raise CapRefused("This document's encoding is not one we read.", encoding=declared)
            text = document.decode("utf-8" if codec == "utf-16" else codec).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise CapRefused(f"This document is not in the encoding that it declares: {error.reason}.") from error
    found = _DECLARATION.match(text)
    declared_encoding = found[3].lower() if found and found[3] else None
    if found and declared_encoding is not None and _ENCODINGS.get(declared_encoding) is None:
        raise CapRefused("This document's encoding is not one we read.", encoding=declared_encoding)
    if found:
        text = text[found.end() :]
    elif text.startswith("<?xml") and text[5:6].isspace():
        raise CapRefused("This document's XML declaration is not one we read.")
    return text, declared_encoding


def parse(document: bytes, *, max_bytes: int = MAX_BYTES, max_elements: int = MAX_ELEMENTS) -> etree._Element:
    """The root of a document; raises CapRefused for what is not even parsed: DOCTYPE, odd encodings, size, bad XML.

    The DOCTYPE is looked for in the text, before any parser sees it: entities are a parser's first work.
    """
    text, _ = decode(document, max_bytes=max_bytes)
    if _DOCTYPE.search(text):
        raise CapRefused("A document with a DOCTYPE is not read.")
    try:
        root = etree.fromstring(text.encode(), parser=_parser())
    except (etree.XMLSyntaxError, ValueError) as error:
        raise CapRefused(f"This is not well-formed XML: {error}") from error
    depth = n_elements = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        n_elements += event == "start"
        if depth > _MAX_DEPTH:
            raise CapRefused("This document nests too deep to be a CAP message.", limit=_MAX_DEPTH)
    if n_elements > max_elements:
        raise CapRefused("This document holds too many elements to be a CAP message.", limit=max_elements)
    return root


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
            "".join(element.itertext(with_tail=False)) if not len(element) else text_of(element), name, path, problems
        )
        return
    if (element.text or "").strip(_XML_SPACE) or any((child.tail or "").strip(_XML_SPACE) for child in element):
        problems.append(Problem(where=path, what="text is not allowed here"))
    _check_children(children, name, path, problems)


def text_of(element: etree._Element) -> str:
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
        while index < len(children) and etree.QName(children[index]).namespace == DSIG:
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
