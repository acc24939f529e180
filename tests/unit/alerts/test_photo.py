"""Photos: what draws the picture stays to the last pixel (Pillow is the judge), everything else goes."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from alerts.photo import MAX_BYTES, BadPhoto, clean

SECRET = b"52.520008N 13.404954E by Ann"


def picture(width: int = 61, height: int = 43) -> Image.Image:
    rng = np.random.default_rng(3)
    smooth = np.add.outer(np.arange(height) * 3, np.arange(width) * 2)[..., None] + rng.integers(0, 40, 3)
    return Image.fromarray((smooth % 256).astype(np.uint8), "RGB")


def exif() -> Any:
    told = Image.Exif()
    told[0x010E] = SECRET.decode()  # ImageDescription
    told[0x0112] = 1
    gps = told.get_ifd(0x8825)
    gps[2], gps[4] = (52.0, 31.0, 12.0), (13.0, 24.0, 17.8)
    return told


def encoded(kind: str, **more: Any) -> bytes:
    out = io.BytesIO()
    if kind == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_text("Comment", SECRET.decode())
        more["pnginfo"] = info
    if kind == "JPEG":
        more["comment"] = SECRET
    picture().save(out, kind, exif=exif(), **more)
    return out.getvalue()


CASES = {
    "jpeg": encoded("JPEG", quality=85),
    "progressive": encoded("JPEG", quality=80, progressive=True),
    "restarts": encoded("JPEG", quality=80, restart_marker_blocks=2),
    "cmyk": (lambda out: (picture().convert("CMYK").save(out, "JPEG", exif=exif()), out.getvalue())[1])(io.BytesIO()),
    "png": encoded("PNG"),
    "webp": encoded("WEBP", quality=80),
    "lossless": encoded("WEBP", lossless=True),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("tail", [b"", b"PK\x03\x04" + SECRET, b"<script>" + SECRET])
def test_a_photo_keeps_its_pixels_and_nothing_else(name: str, tail: bytes) -> None:
    body = CASES[name] + tail
    assert SECRET in body
    photo = clean(body)
    assert SECRET not in photo.body
    assert len(photo.body) < len(body)
    with Image.open(io.BytesIO(CASES[name])) as before, Image.open(io.BytesIO(photo.body)) as after:
        assert (photo.width, photo.height) == after.size == (61, 43)
        assert photo.media_type == Image.MIME[after.format or ""]
        assert after.mode == before.mode
        assert np.array_equal(np.asarray(before), np.asarray(after))
        assert dict(after.getexif()) == {}
        assert not {"comment", "Comment", "exif", "xmp", "icc_profile"} & set(after.info)
    assert clean(photo.body) == photo


def crc_png(*pieces: tuple[bytes, bytes]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in pieces
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "n_bytes"),
        (b"x" * (MAX_BYTES + 1), "limit"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "by its content"),
        (b"GIF89a" + bytes(40), "by its content"),
        (b"%PDF-1.7", "by its content"),
        (CASES["jpeg"][:200], "too soon"),
        (CASES["jpeg"][:-20], "too soon"),
        (b"\xff\xd8\xff\xd9", "no picture"),
        (b"\xff\xd8\xff\xe0\x00\x04aa<html>", "no marker"),
        (CASES["png"][:-15], "too soon"),
        (CASES["png"].replace(b"IDAT", b"IDOT", 1), "damaged"),
        (crc_png((b"IHDR", struct.pack(">IIBBBBB", 5, 5, 8, 2, 0, 0, 0)), (b"IEND", b"")), "no picture"),
        (crc_png((b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)), (b"IDAT", b"x"), (b"IEND", b"")), "too large"),
        (CASES["webp"][:-30], "too soon"),
        (b"RIFF" + struct.pack("<I", 4) + b"WEBP", "no picture"),
    ],
)  # fmt: skip
def test_what_is_no_photo_is_refused_with_its_reason(body: bytes, reason: str) -> None:
    with pytest.raises(BadPhoto, match=reason):
        clean(body)


def test_any_cut_of_a_photo_is_refused_or_clean() -> None:
    """No prefix of a file makes anything but a photo or a refusal."""
    for body in CASES.values():
        for end in range(0, len(body), 7):
            try:
                photo = clean(body[:end])
            except BadPhoto:
                continue
            assert SECRET not in photo.body
