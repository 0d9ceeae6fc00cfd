"""32x32 emoji from the Noto Color Emoji font (SIL Open Font License 1.1).

The font stores one colour bitmap per glyph (CBDT table). Glyphs are composited on white, padded to
a square and scaled down. A glyph's *group* is its code-point sequence without skin tones, so that
variants of one drawing stay on one side of the train/held-out split.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["FONT", "LICENCE", "find_font", "group_of", "held_out", "read"]

FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
LICENCE = "SIL Open Font License 1.1 (Noto Color Emoji, Google)"
SKIN_TONES = range(0x1F3FB, 0x1F400)
INVISIBLE = {0x200D, 0xFE0F, 0xFE0E}  # zero-width joiner and variation selectors
# One drawing, two spellings: the single code point takes one skin tone, the sequence takes two.
SPELLINGS: dict[tuple[int, ...], tuple[int, ...]] = {
    (0x1F48F,): (0x1F9D1, 0x2764, 0x1F48B, 0x1F9D1),
    (0x1F491,): (0x1F9D1, 0x2764, 0x1F9D1),
    (0x1F46B,): (0x1F469, 0x1F91D, 0x1F468),
    (0x1F46C,): (0x1F468, 0x1F91D, 0x1F468),
    (0x1F46D,): (0x1F469, 0x1F91D, 0x1F469),
    (0x1F91D,): (0x1FAF1, 0x1FAF2),
}


def find_font(font: str | os.PathLike[str] | None = None) -> Path:
    """Path of the font file; FileNotFoundError with advice when there is none."""
    path = Path(font) if font is not None else Path(FONT)
    if not path.is_file():
        raise FileNotFoundError(
            f"expected the Noto Color Emoji font at {path}, found no such file: install Debian's "
            "fonts-noto-color-emoji or pass --font FILE"
        )
    return path


def group_of(sequence: tuple[int, ...]) -> tuple[int, ...]:
    """Code points without skin tones, joiners and selectors; one spelling for each drawing."""
    bare = tuple(c for c in sequence if c not in SKIN_TONES and c not in INVISIBLE)
    return SPELLINGS.get(bare, bare) or tuple(sequence)


def held_out(group: tuple[int, ...], fraction: float = 0.05) -> bool:
    """Deterministic choice: SHA-256 of the group, read as a number in [0, 1), below `fraction`."""
    digest = hashlib.sha256(" ".join(f"{c:X}" for c in group).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64 < fraction


def _sequences(font: Any) -> dict[str, tuple[int, ...]]:
    """Glyph name -> code points, by expanding the ligatures of the GSUB table to a fixed point."""
    known: dict[str, tuple[int, ...]] = {}
    for code, name in sorted(font.getBestCmap().items()):
        known.setdefault(name, (code,))
    if "GSUB" not in font:
        return known
    ligatures = []
    for lookup in font["GSUB"].table.LookupList.Lookup:
        for table in lookup.SubTable:
            table = getattr(table, "ExtSubTable", table)
            for first, entries in getattr(table, "ligatures", {}).items():
                ligatures += [(e.LigGlyph, [first, *e.Component]) for e in entries]
    growing = True
    while growing:
        growing = False
        for name, parts in ligatures:
            if name not in known and all(part in known for part in parts):
                known[name] = sum((known[part] for part in parts), ())
                growing = True
    return known


def _draw(png: bytes, size: int) -> np.ndarray:
    """PNG bytes -> uint8 [size, size, 3]: on white, padded to a square, Lanczos-filtered."""
    from PIL import Image

    glyph = Image.open(io.BytesIO(png)).convert("RGBA")
    side = max(glyph.size)
    canvas = Image.new("RGBA", (side, side), (255, 255, 255, 255))
    corner = ((side - glyph.width) // 2, (side - glyph.height) // 2)
    # Compositing before scaling keeps the colour hidden under transparent pixels out of the edges.
    canvas.alpha_composite(glyph, corner)
    small = canvas.convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(small, dtype=np.uint8)


def read(
    font: str | os.PathLike[str] | None = None, size: int = 32
) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """Unique images uint8 [N, size, size, 3] and their groups, in glyph order.

    FileNotFoundError without the font; ValueError for a font without colour bitmaps.
    """
    from fontTools.ttLib import TTFont, TTLibError

    path = find_font(font)
    try:
        opened = TTFont(path)
    except TTLibError as error:
        raise ValueError(f"expected a TrueType font, {path} is not one: {error}") from None
    if "CBDT" not in opened:
        raise ValueError(f"expected a font with a CBDT table of colour bitmaps, {path} has none")
    sequences = _sequences(opened)
    images, groups, seen = [], [], set()
    for name, glyph in opened["CBDT"].strikeData[0].items():
        png = bytes(getattr(glyph, "imageData", b""))
        if not png:
            continue
        image = _draw(png, size)
        key = image.tobytes()
        if key in seen:
            continue
        seen.add(key)
        # A glyph that no text reaches is its own group, named by its pixels.
        unreachable = (int.from_bytes(hashlib.sha256(key).digest()[:8], "big"),)
        images.append(image)
        groups.append(group_of(sequences.get(name, unreachable)))
    return np.stack(images), groups
