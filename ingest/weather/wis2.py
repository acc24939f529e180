"""WIS2 notification messages (WMO): a small GeoJSON that says that data exist, with their hash and where they are.

A notification has at most 8,192 bytes, content inside it at most 4,096. Links are followed only to hosts of the
allow-list, and what they bring counts only if its hash is the one that was notified. One id is one notification;
rel=update and rel=deletion change data that were notified before.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from ingest.weather.items import BadFeed, a_list, a_time, an_object, read_json

MAX_BYTES, MAX_CONTENT_BYTES = 8192, 4096
TOPICS = (
    "origin/a/wis2/+/data/core/weather/advisories-warnings/#",
    "cache/a/wis2/+/data/core/weather/advisories-warnings/#",
)
_METHODS = {"sha256": 32, "sha384": 48, "sha512": 64, "sha3-256": 32, "sha3-384": 48, "sha3-512": 64}
_GEOMETRIES = frozenset({"Point", "Polygon", "MultiPoint", "LineString", "MultiLineString", "MultiPolygon"})
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
#: data of these kinds are read; the first of a link's that is needed
RELS = ("canonical", "update", "deletion")


class WrongHash(BadFeed):
    """The data are not those that were notified."""


class NotAllowed(BadFeed):
    """This host is not on the allow-list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What exists where."""

    id: str
    data_id: str
    published_at: datetime
    rel: str  #: canonical, update or deletion
    href: str
    length: int | None
    media_type: str | None
    method: str | None
    digest: bytes | None
    content: bytes | None  #: the data themselves, where they came along


def parse(body: bytes) -> Notification:
    """A notification; raises BadFeed naming what is wrong."""
    if len(body) > MAX_BYTES:
        raise BadFeed("A notification has at most 8,192 bytes.", n_bytes=len(body))
    document = an_object(read_json(body), "notification")
    if document.get("type") != "Feature":
        raise BadFeed("A notification is a GeoJSON feature.", where="type")
    told_id = document.get("id")
    if not isinstance(told_id, str) or not _UUID.fullmatch(told_id):
        raise BadFeed("The id of a notification is a UUID.", where="id")
    if "conformsTo" in document:
        if not any("wnm" in str(one) for one in a_list(document["conformsTo"], "conformsTo")):
            raise BadFeed("This conforms to something else.", where="conformsTo")
    elif document.get("version") != "v04":
        raise BadFeed("A notification says what it conforms to.", where="conformsTo")
    if "geometry" not in document:
        raise BadFeed("A notification has a geometry, or null.", where="geometry")
    geometry = document["geometry"]
    if geometry is not None and an_object(geometry, "geometry").get("type") not in _GEOMETRIES:
        raise BadFeed("This is no geometry of GeoJSON.", where="geometry.type")
    p = an_object(document.get("properties"), "properties")
    data_id = p.get("data_id")
    if not isinstance(data_id, str) or not data_id:
        raise BadFeed("A notification names its data.", where="properties.data_id")
    published = a_time(p.get("pubtime"), "properties.pubtime")
    _temporal(p)
    links = [an_object(one, f"links[{n}]") for n, one in enumerate(a_list(document.get("links"), "links"))]
    link = next((one for rel in RELS[::-1] for one in links if one.get("rel") == rel), None)
    if link is None or not isinstance(link.get("href"), str):
        raise BadFeed("A notification has a link of rel canonical, update or deletion.", where="links")
    method, digest = _integrity(p.get("integrity") or {})
    length = link.get("length")
    return Notification(
        id=told_id,
        data_id=data_id,
        published_at=published,
        rel=str(link["rel"]),
        href=link["href"],
        length=length if isinstance(length, int) and not isinstance(length, bool) else None,
        media_type=link.get("type"),
        method=method,
        digest=digest,
        content=_content(p.get("content")),
    )


def _temporal(p: Mapping[str, Any]) -> None:
    if "datetime" in p:
        if p["datetime"] is not None:
            a_time(p["datetime"], "properties.datetime")
        return
    if "start_datetime" not in p or "end_datetime" not in p:
        raise BadFeed("A notification has datetime, or start_datetime and end_datetime.", where="properties")
    a_time(p["start_datetime"], "properties.start_datetime")
    a_time(p["end_datetime"], "properties.end_datetime")


def _integrity(told: Any) -> tuple[str | None, bytes | None]:
    if not told:
        return None, None
    given = an_object(told, "properties.integrity")
    method = str(given.get("method"))
    if method not in _METHODS:
        raise BadFeed("This hash is not one of WIS2's.", where="properties.integrity.method", method=method[:20])
    try:
        digest = base64.b64decode(str(given.get("value")), validate=True)
    except (binascii.Error, ValueError):
        digest = b""  # a hash that cannot be read matches nothing
    return method, digest


def _content(told: Any) -> bytes | None:
    if told is None:
        return None
    given = an_object(told, "properties.content")
    encoding, value = given.get("encoding"), str(given.get("value", ""))
    if encoding == "utf-8":
        data = value.encode()
    elif encoding == "base64":
        try:
            data = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadFeed("The content is not base64.", where="properties.content.value") from error
    else:
        raise BadFeed("The content's encoding is not one that is read.", where="properties.content.encoding")
    if len(data) > MAX_CONTENT_BYTES:
        raise BadFeed("Content has at most 4,096 bytes.", where="properties.content", n_bytes=len(data))
    return data


def allowed(href: str, hosts: Collection[str]) -> str:
    """The link, if https leads it to a host of the allow-list; raises NotAllowed."""
    parts = urlsplit(href)
    name = (parts.hostname or "").lower().rstrip(".")
    if parts.scheme != "https" or parts.username or not any(name == one or name.endswith("." + one) for one in hosts):
        raise NotAllowed(host=name[:80], scheme=parts.scheme[:10])
    return href


def checked(note: Notification, data: bytes) -> bytes:
    """The data, if they are those that were notified; raises WrongHash. Without a hash there is nothing to go by."""
    if note.method is None or note.digest is None:
        raise WrongHash("The notification gives no hash.", data_id=note.data_id[:120])
    found = hashlib.new(note.method.replace("sha3-", "sha3_"), data).digest()
    if found != note.digest:
        raise WrongHash(data_id=note.data_id[:120], method=note.method)
    return data
