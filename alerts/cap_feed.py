"""Our released CAP messages as an Atom feed (RFC 4287): each under its own address."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lxml import etree

_ATOM = "http://www.w3.org/2005/Atom"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedEntry:
    """One message of the feed."""

    identifier: str
    title: str
    link: str
    updated_at: datetime


def atom_feed(entries: Sequence[FeedEntry], *, base: str, now: datetime) -> bytes:
    """The feed, newest first; empty it says when it was looked at."""
    feed = etree.Element(f"{{{_ATOM}}}feed", nsmap={None: _ATOM})

    def put(parent: etree._Element, name: str, text: str) -> None:
        etree.SubElement(parent, f"{{{_ATOM}}}{name}").text = text

    put(feed, "id", f"{base}/v1/cap/feed")
    put(feed, "title", "Warnings")
    newest = max((one.updated_at for one in entries), default=now)
    put(feed, "updated", newest.isoformat(timespec="seconds"))
    put(etree.SubElement(feed, f"{{{_ATOM}}}author"), "name", "Tocsin")
    etree.SubElement(feed, f"{{{_ATOM}}}link", rel="self", href=f"{base}/v1/cap/feed")
    for one in entries:
        entry = etree.SubElement(feed, f"{{{_ATOM}}}entry")
        put(entry, "id", one.identifier if ":" in one.identifier else f"urn:tocsin:{one.identifier}")
        put(entry, "title", one.title)
        put(entry, "updated", one.updated_at.isoformat(timespec="seconds"))
        etree.SubElement(entry, f"{{{_ATOM}}}link", rel="alternate", type="application/cap+xml", href=one.link)
    document: bytes = etree.tostring(feed, xml_declaration=True, encoding="UTF-8")
    return document
