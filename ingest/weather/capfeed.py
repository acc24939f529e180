"""Indexes of CAP messages (Atom and RSS), lists of such feeds, and loss news in RSS.

An index is no message: each entry leads to one. Lists are in the shape of the IFRC alert hub's; none of their feeds is
on until somebody turns it on.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

from lxml import etree

from core.errors import InvalidInput
from ingest.cap.meaning import clean
from ingest.cap.message import CapRefused
from ingest.cap.structure import collapse, parse
from ingest.weather.items import BadFeed, Signal, a_list, an_object, read_json

MAX_INDEX_BYTES = 16 * 1024 * 1024
_ATOM = "{http://www.w3.org/2005/Atom}"
_CAP_TYPE = "application/cap+xml"
#: News is a hint and no more: below this nothing is decided by it (alerts never see it).
NEWS_WEIGHT = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of an index."""

    id: str
    link: str
    title: str
    updated_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A feed of a list."""

    code: str
    name: str
    url: str
    form: str  #: rss or atom
    country: str | None
    language: str | None


def _tree(body: bytes) -> etree._Element:
    try:
        return parse(body, max_bytes=MAX_INDEX_BYTES, max_elements=400_000)
    except CapRefused as error:
        raise BadFeed(f"This index is not read: {error.message}") from error


def entries(body: bytes, base: str) -> list[Entry]:
    """Entries of an Atom or RSS index, each once; links are made whole with `base`. Raises BadFeed."""
    root = _tree(body)
    local = etree.QName(root).localname
    if root.tag == f"{_ATOM}feed":
        found = [_atom(one, base) for one in root.iterchildren(f"{_ATOM}entry")]
    elif local in ("rss", "RDF"):
        found = [_item(one, base) for one in root.iter() if isinstance(one.tag, str) and _local(one) == "item"]
    else:
        raise BadFeed("An index is an Atom feed or RSS.", root=str(root.tag)[:80])
    return list({one.link: one for one in found if one is not None}.values())


def _local(element: etree._Element) -> str:
    return str(etree.QName(element).localname)


def _http(link: str) -> bool:
    return urlsplit(link).scheme in ("http", "https")


def _atom(entry: etree._Element, base: str) -> Entry | None:
    links = [one for one in entry.iterchildren(f"{_ATOM}link") if one.get("href")]
    best = next((one for one in links if one.get("type") == _CAP_TYPE), None)
    if best is None:
        best = next((one for one in links if one.get("rel", "alternate") == "alternate"), links[0] if links else None)
    if best is None:
        return None
    link = urljoin(base, collapse(best.get("href", "")))
    if not _http(link):
        return None
    told = entry.findtext(f"{_ATOM}updated") or entry.findtext(f"{_ATOM}published")
    return Entry(
        id=collapse(entry.findtext(f"{_ATOM}id") or link),
        link=link,
        title=clean(collapse(entry.findtext(f"{_ATOM}title") or "")),
        updated_at=_when(told),
    )


def _item(item: etree._Element, base: str) -> Entry | None:
    texts = {_local(one): one for one in item if isinstance(one.tag, str)}
    enclosure = texts.get("enclosure")
    link = ""
    if enclosure is not None and enclosure.get("type") == _CAP_TYPE:
        link = enclosure.get("url", "")
    if not link and "link" in texts:
        link = texts["link"].text or ""
    link = urljoin(base, collapse(link)) if collapse(link) else ""
    if not _http(link):
        return None

    def text(name: str) -> str:
        return collapse("".join(texts[name].itertext())) if name in texts else ""

    return Entry(id=text("guid") or link, link=link, title=clean(text("title")), updated_at=_when(text("pubDate")))


def _when(text: str | None) -> datetime | None:
    """A time of RFC 3339 or RFC 5322; none where it cannot be read: an index's time decides nothing."""
    told = collapse(text or "")
    if not told:
        return None
    try:
        at = datetime.fromisoformat(told)
    except ValueError:
        try:
            at = parsedate_to_datetime(told)
        except (ValueError, TypeError):
            return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


class BadList(InvalidInput):
    """This list of feeds cannot be imported."""


_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def feed_list(body: bytes) -> list[Listed]:
    """Feeds of a list with sourceId, name, capAlertFeed, format; all of it or none. Raises BadList with the row.

    A sourceId that stands for several addresses gives several feeds (`de-dwd-de`, `de-dwd-de.2`).
    """
    try:
        rows = a_list(read_json(body), "list")
    except BadFeed as error:
        raise BadList(str(error)) from error
    found: dict[str, Listed] = {}
    for n, row in enumerate(rows, start=1):
        try:
            told = an_object(row, f"row {n}")
        except BadFeed as error:
            raise BadList(str(error)) from error
        code, url, form = (
            str(told.get("sourceId") or ""),
            str(told.get("capAlertFeed") or ""),
            str(told.get("format") or ""),
        )
        if not _CODE.fullmatch(code):
            raise BadList("A feed needs a sourceId of letters, digits, '.', '_' and '-'.", row=n, sourceId=code[:60])
        if not _http(url) or not urlsplit(url).hostname:
            raise BadList("A feed needs a capAlertFeed of http or https.", row=n, sourceId=code, capAlertFeed=url[:80])
        if form not in ("rss", "atom"):
            raise BadList("A feed's format is rss or atom.", row=n, sourceId=code, format=form[:20])
        given, k = code, 2
        while code in found:  # one office with several feeds
            code, k = f"{given}.{k}", k + 1
        found[code] = Listed(
            code=code, name=str(told.get("name") or code), url=url, form=form,
            country=told.get("iso3"), language=told.get("language"),
        )  # fmt: skip
    return list(found.values())


def news(body: bytes, base: str, *, source: str, words: Iterable[str]) -> list[Signal]:
    """Items of a news feed that hold one of the words, as signals of low weight with their source. Raises BadFeed."""
    wanted = [one.lower() for one in words]
    return [
        Signal(source=source, title=one.title, link=one.link, said_at=one.updated_at, weight=NEWS_WEIGHT)
        for one in entries(body, base)
        if any(word in one.title.lower() for word in wanted)
    ]
