"""A photo as it may be kept: what kind it is by its content, without anything that tells where, when or with what.

Nothing is decoded. The file is taken apart into the pieces of its format, those that draw the picture are kept, and all
else (EXIF with its position, XMP, comments, thumbnails, what follows the end) is left behind.
JPEG: ITU-T T.81 annex B. PNG: W3C PNG 3rd edition, 5. WebP: RFC 9649.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Literal

from core.errors import InvalidInput

MAX_BYTES = 700 * 1024
MAX_SIDE = 10_000

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT"})
_WEBP_KEPT = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH"})
#: baseline, extended and progressive, by Huffman
_SOF = frozenset({0xC0, 0xC1, 0xC2})
#: tables, frame, restart interval, scan; JFIF and Adobe say how colours are meant
_JPEG_KEPT = _SOF | {0xC4, 0xDB, 0xDD, 0xE0, 0xEE}
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA


class BadPhoto(InvalidInput):
    """This is not a photo that we keep: a JPEG, PNG or WebP of at most 700 KB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A photo without its metadata."""

    media_type: Literal["image/jpeg", "image/png", "image/webp"]
    body: bytes
    width: int
    height: int


def clean(body: bytes) -> Photo:
    """The photo in these bytes without its metadata; cleaning that again changes nothing. Raises BadPhoto."""
    if not 1 <= len(body) <= MAX_BYTES:
        raise BadPhoto(n_bytes=len(body), limit=MAX_BYTES)
    try:
        if body.startswith(b"\xff\xd8\xff"):
            photo = _jpeg(body)
        elif body.startswith(_PNG):
            photo = _png(body)
        elif body[:4] == b"RIFF" and body[8:12] == b"WEBP":
            photo = _webp(body)
        else:
            raise BadPhoto("A photo is a JPEG, PNG or WebP by its content.", begins=body[:4].hex())
    except (IndexError, struct.error) as error:
        raise BadPhoto("The photo ends too soon.") from error
    if not (1 <= photo.width <= MAX_SIDE and 1 <= photo.height <= MAX_SIDE):
        raise BadPhoto("The photo is too large.", width=photo.width, height=photo.height, limit=MAX_SIDE)
    return photo


def _jpeg(body: bytes) -> Photo:
    kept = bytearray(body[:2])
    at, size = 2, (0, 0)
    while True:
        if body[at] != 0xFF:
            raise BadPhoto("The JPEG has no marker where one stands.", at=at)
        while body[at + 1] == 0xFF:  # fill
            at += 1
        marker = body[at + 1]
        at += 2
        if marker == _EOI:
            if size == (0, 0):
                raise BadPhoto("The JPEG has no picture.")
            return Photo(media_type="image/jpeg", body=bytes(kept) + b"\xff\xd9", width=size[1], height=size[0])
        (length,) = struct.unpack_from(">H", body, at)
        segment = body[at : at + length]
        if length < 2 or len(segment) < length:
            raise BadPhoto("The JPEG ends too soon.")
        at += length
        if marker in _SOF:
            size = struct.unpack_from(">HH", segment, 3)
        if marker in _JPEG_KEPT or marker == _SOS:
            kept += bytes([0xFF, marker]) + segment
        elif 0xC0 <= marker <= 0xCF:
            raise BadPhoto("This kind of JPEG is not kept.", marker=hex(marker))
        if marker == _SOS:
            end = _end_of_scan(body, at)
            kept += body[at:end]
            at = end


def _end_of_scan(body: bytes, at: int) -> int:
    """Where the coded data end: at a marker that is neither a stuffed zero nor a restart."""
    while True:
        at = body.find(b"\xff", at)
        if at < 0:
            raise BadPhoto("The JPEG ends too soon.")
        follows = body[at + 1]
        if follows != 0x00 and not 0xD0 <= follows <= 0xD7:
            return at
        at += 2


def _png(body: bytes) -> Photo:
    kept, at = bytearray(_PNG), len(_PNG)
    size: tuple[int, int] | None = None
    drawn = False
    while True:
        length, kind = struct.unpack_from(">I4s", body, at)
        data = body[at + 8 : at + 8 + length]
        (crc,) = struct.unpack_from(">I", body, at + 8 + length)
        if crc != zlib.crc32(kind + data):
            raise BadPhoto("A piece of the PNG is damaged.", piece=kind.decode("latin-1"))
        if (kind == b"IHDR") != (size is None):
            raise BadPhoto("The PNG does not begin with its header.")
        if kind == b"IHDR":
            size = struct.unpack_from(">II", data)
        drawn = drawn or kind == b"IDAT"
        if kind in _PNG_KEPT:
            kept += body[at : at + 12 + length]
        at += 12 + length
        if kind == b"IEND":
            if size is None or not drawn:
                raise BadPhoto("The PNG has no picture.")
            return Photo(media_type="image/png", body=bytes(kept), width=size[0], height=size[1])


def _webp(body: bytes) -> Photo:
    (length,) = struct.unpack_from("<I", body, 4)
    end = 8 + length
    if end > len(body):
        raise BadPhoto("The WebP ends too soon.")
    kept, at = bytearray(b"WEBP"), 12
    size: tuple[int, int] | None = None
    drawn = False
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", body, at)
        data = bytearray(body[at + 8 : at + 8 + length])
        if len(data) < length:
            raise BadPhoto("The WebP ends too soon.")
        at += 8 + length + length % 2
        if kind in (b"ANIM", b"ANMF"):
            raise BadPhoto("A film is not kept.")
        if kind not in _WEBP_KEPT:
            continue
        if kind == b"VP8X":
            data[0] &= 0x10  # alpha alone: no colour profile, EXIF, XMP or film follows
            size = (1 + int.from_bytes(data[4:7], "little"), 1 + int.from_bytes(data[7:10], "little"))
        elif kind == b"VP8 " and size is None:
            width, height = struct.unpack_from("<HH", data, 6)
            size = (width & 0x3FFF, height & 0x3FFF)
        elif kind == b"VP8L" and size is None:
            bits = int.from_bytes(data[1:5], "little")
            size = (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
        drawn = drawn or kind in (b"VP8 ", b"VP8L")
        kept += struct.pack("<4sI", kind, length) + data + b"\0" * (length % 2)
    if size is None or not drawn:
        raise BadPhoto("The WebP has no picture.")
    return Photo(
        media_type="image/webp",
        body=b"RIFF" + struct.pack("<I", len(kept)) + bytes(kept),
        width=size[0],
        height=size[1],
    )
