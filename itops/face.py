"""A typeface for paper: the outlines of just the letters that a document needs, as a TrueType font to embed.

The letters come from Noto Sans CJK SC, which a package brings (SIL Open Font License 1.1), or else from the same face
of the operating system. Their outlines are redrawn as TrueType curves, so that a reader needs no font of its own.
"""

import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from copy import deepcopy
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any, Final

from core.errors import InvalidInput

#: The face by the names it has inside font files, the best first. Weight 400 is text, 700 headings.
NAMES: Final = ("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN")
_PACKAGE: Final = "manimgx_fonts_cjk"
_FILES: Final = ("NotoSansCJK", "NotoSansSC", "SourceHanSans")
_ENDINGS: Final = (".ttf", ".otf", ".ttc", ".otc")
#: Error of a curve of degree two that stands for one of degree three, in thousandths of the letter's height.
_CURVE_ERROR: Final = 1.0


class NoTypeface(InvalidInput):
    """No font with Chinese letters was found on this machine."""


def _folders() -> Iterator[Path]:
    spec = util.find_spec(_PACKAGE)
    if spec is not None and spec.submodule_search_locations:
        yield from (Path(place) for place in spec.submodule_search_locations)
    home = Path.home()
    yield from (
        Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), home / ".local/share/fonts", home / ".fonts",
        Path("/Library/Fonts"), Path("/System/Library/Fonts"), home / "Library/Fonts",
        Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts",
    )  # fmt: skip


@cache
def source() -> tuple[Path, int]:
    """The font file and the number of its face inside: the package's first, so that every machine prints the same.

    Raises NoTypeface, saying what to install.
    """
    from fontTools.ttLib import TTFont, TTLibError

    for folder in _folders():
        if not folder.is_dir():
            continue
        found = sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in _ENDINGS and path.name.startswith(_FILES) and "Mono" not in path.name
        )
        # A file of regular or variable weight before one of a single other weight.
        for path in sorted(found, key=lambda p: ("VF" not in p.name and "[" not in p.name, "Regular" not in p.name)):
            for number in range(12):
                try:
                    name = TTFont(path, fontNumber=number, lazy=True)["name"].getDebugName(1) or ""
                except (TTLibError, OSError):
                    break
                if name.removesuffix(" Thin").removesuffix(" Regular") in NAMES:
                    return path, number
    raise NoTypeface(
        "No font with Chinese letters was found: reinstall Tocsin with its dependencies (package manimgx-fonts-cjk), "
        "or install Noto Sans CJK (Debian: fonts-noto-cjk)"
    )


@cache
def _open() -> tuple[Any, dict[int, str]]:
    from fontTools.ttLib import TTFont

    path, number = source()
    font = TTFont(path, fontNumber=number, lazy=True)
    return font, font.getBestCmap()


@cache
def _second(bold: bool) -> tuple[Any, dict[int, str]]:
    """DejaVu Sans, which comes with Matplotlib: Latin letters of other languages, Greek, Cyrillic, and more."""
    import matplotlib
    from fontTools.ttLib import TTFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    font = TTFont(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, lazy=True)
    return font, font.getBestCmap()


@cache
def _glyphs(weight: int) -> Any:
    font, _ = _open()
    return font.getGlyphSet(location={"wght": weight}) if "fvar" in font else font.getGlyphSet()


@cache
def _glyph(code: int, weight: int) -> tuple[Any, int]:
    """A letter in TrueType curves, and its width; the empty box where no face has it, and for code -1."""
    from fontTools.pens.cu2quPen import Cu2QuPen
    from fontTools.pens.recordingPen import DecomposingRecordingPen
    from fontTools.pens.transformPen import TransformPen
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    font, known = _open()
    upem = font["head"].unitsPerEm
    glyphs, name, scale, cubic = _glyphs(weight), known.get(code), 1.0, "glyf" not in font
    if name is None:
        other, of_other = _second(weight >= 600)
        if code in of_other:
            glyphs, name, cubic = other.getGlyphSet(), of_other[code], False
            scale = upem / other["head"].unitsPerEm
    name = name or ".notdef"
    pen = TTGlyphPen(None)
    curved = Cu2QuPen(pen, _CURVE_ERROR * upem / 1000.0, reverse_direction=cubic)
    whole = DecomposingRecordingPen(glyphs)  # an accented letter may be made of two others
    glyphs[name].draw(whole)
    whole.replay(TransformPen(curved, (scale, 0, 0, scale, 0, 0)))
    return pen.glyph(), round(glyphs[name].width * scale)


def missing(letters: Iterable[str]) -> list[str]:
    """The letters that no face has: they are printed as an empty box."""
    known = {**_open()[1], **_second(False)[1]}
    return sorted({letter for letter in letters if letter.isprintable() and ord(letter) not in known})


def truetype(letters: Iterable[str], *, weight: int = 400) -> bytes:
    """A TrueType font of these letters alone. The same letters give the same bytes. Raises NoTypeface."""
    from fontTools.fontBuilder import FontBuilder

    font, _ = _open()
    codes = sorted({ord(letter) for letter in letters})
    cmap = {code: f"u{code:04X}" for code in codes}
    drawn = {".notdef": _glyph(-1, weight)} | {name: _glyph(code, weight) for code, name in cmap.items()}
    drawn = {name: (deepcopy(glyph), width) for name, (glyph, width) in drawn.items()}  # a font packs its own
    ascent, descent = font["hhea"].ascent, font["hhea"].descent
    built = FontBuilder(font["head"].unitsPerEm, isTTF=True)
    built.font.recalcTimestamp = False
    built.setupGlyphOrder(list(drawn))
    built.setupCharacterMap(cmap)
    built.setupGlyf({name: glyph for name, (glyph, _) in drawn.items()})
    glyf = built.font["glyf"]
    built.setupHorizontalMetrics({name: (width, getattr(glyf[name], "xMin", 0)) for name, (_, width) in drawn.items()})
    built.setupHorizontalHeader(ascent=ascent, descent=descent)
    # A printer that knows one font by a name takes it for every other of that name: the name tells the letters.
    tag = hashlib.sha256(repr(codes).encode()).hexdigest()[:16]
    names = {"familyName": f"Tocsin Sans {weight}", "styleName": "Regular", "psName": f"TocsinSans{weight}-{tag}"}
    built.setupNameTable(names)
    built.setupOS2(sTypoAscender=ascent, sTypoDescender=descent, usWinAscent=ascent, usWinDescent=-descent)
    built.setupPost(keepGlyphNames=False)
    out = io.BytesIO()
    built.save(out)
    return out.getvalue()
