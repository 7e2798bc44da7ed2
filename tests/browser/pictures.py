"""Small pictures of pages, and how much two differ: what a person would see at a glance, and no more.

A page is cut into its parts (headings, tiles, charts, tables), each shrunk to cells of CELL pixels. Another version of
Chromium, or another font, moves words and makes parts a little higher; so each part is brought to the height that it
has in the picture it is compared with, and each cell may match any of its neighbours. What remains is structure: a part
that is missing, a chart without its lines, columns that fell apart, colours that are gone.
"""

from __future__ import annotations

import base64
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Page

FOLDER = Path(__file__).parents[1] / "golden" / "screens"
SCALE = 0.5
"""Pixels of a picture for each of the page: enough for structure, and four times as fast."""
CELL, FINE = 8, 4
"""Pixels of a cell; fine ones for charts, whose lines are thin and do not move."""
WORDS, CHARTS, GROUND = 25.0, 2.5, 8.0
"""At most so much mean difference (of 255) in one part, and of the ground of what has one of its own.

Measured with DejaVu Sans against Liberation Sans, Serif and Sans Narrow: words 9 to 18, charts 0.8 to 1.5; charts
without their bands 4.5 to 19, without their picture 9 to 23, a verdict without its colour 13 on its ground.
"""
GROUNDED = ("section", "dl")
LINES_LEFT = (0.7, 1.4)
"""How much strong colour charts may have, of what they had: other fonts give 0.88 to 1.0, a lost line takes its own."""
STRONG = 60
HEIGHTS, LINES = (0.6, 1.6), 48.0
"""How many times as high a part may be, or by how many pixels: words of another font take more or fewer lines."""

PARTS = """() => [...document.querySelectorAll(
    'main > *:not(.charts):not(.live), .charts > *')].map(each => {
  const box = each.getBoundingClientRect();
  return {name: each.tagName.toLowerCase(), x: box.left + scrollX, y: box.top + scrollY, w: box.width, h: box.height};
}).filter(each => each.w > 8 && each.h > 8)"""
SHRINK = """async ([png, parts, scale]) => {
  const image = await createImageBitmap(await (await fetch('data:image/png;base64,' + png)).blob());
  const pen = new OffscreenCanvas(image.width, image.height).getContext('2d', {willReadFrequently: true});
  pen.drawImage(image, 0, 0);
  return parts.map(({x, y, w, h, columns, rows}) => {
    const [left, top, wide, high] = [x, y, w, h].map(each => Math.floor(each * scale));
    const data = pen.getImageData(left, top, wide, high).data, sums = new Float64Array(columns * rows * 4);
    for (let line = 0, at = 0; line < high; line++) for (let spot = 0; spot < wide; spot++, at += 4) {
      const cell = 4 * (Math.floor(line * rows / high) * columns + Math.floor(spot * columns / wide));
      sums[cell] += data[at]; sums[cell + 1] += data[at + 1]; sums[cell + 2] += data[at + 2]; sums[cell + 3] += 1;
    }
    const bytes = new Uint8Array(columns * rows * 3);
    for (let cell = 0; cell < columns * rows; cell++) for (let colour = 0; colour < 3; colour++)
      bytes[3 * cell + colour] = Math.round(sums[4 * cell + colour] / (sums[4 * cell + 3] || 1));
    return btoa(Array.from(bytes, each => String.fromCharCode(each)).join(''));
  });
}"""

Cells = NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """Parts of a page from above to below: name and cells (rows, columns, red, green and blue)."""

    parts: Sequence[tuple[str, Cells]]
    heights: Sequence[float] = ()
    """Of the parts, in pixels; none for a picture that was kept."""


def taken(page: Page, like: Picture | None = None) -> Picture:
    """Take the picture of the whole page, in the rows and columns of ``like`` as far as its parts are the same."""
    parts: list[dict[str, Any]] = page.evaluate(PARTS)
    for place, part in enumerate(parts):
        known = like.parts[place][1].shape if like and place < len(like.parts) else None
        part["columns"] = known[1] if known else max(round(part["w"] / _cell(part["name"])), 1)
        part["rows"] = known[0] if known else max(round(part["h"] / _cell(part["name"])), 1)
    png = base64.b64encode(page.screenshot(full_page=True, animations="disabled")).decode()
    blank = page.context.new_page()
    found: list[str] = blank.evaluate(SHRINK, [png, parts, SCALE])
    blank.close()
    cells = [
        np.frombuffer(base64.b64decode(each), np.uint8).reshape(part["rows"], part["columns"], 3)
        for part, each in zip(parts, found, strict=True)
    ]
    named = [(part["name"], each) for part, each in zip(parts, cells, strict=True)]
    return Picture(named, [part["h"] for part in parts])


def difference(kept: Picture, seen: Picture) -> list[str]:
    """Compare a picture that was kept with one that was taken like it; what differs to the eye, in words."""
    names, others = [name for name, _ in kept.parts], [name for name, _ in seen.parts]
    if names != others:
        return [f"its parts were {' '.join(names)}, now {' '.join(others)}"]
    said: list[str] = []
    both = zip(kept.parts, seen.parts, seen.heights, strict=True)
    for place, ((name, one), (_, other), height) in enumerate(both):
        what, before = f"part {place} ({name})", float(_cell(name) * len(one))
        if not (HEIGHTS[0] <= height / before <= HEIGHTS[1] or abs(height - before) <= LINES):
            said.append(f"{what} is {height:.0f} pixels high, was {before:.0f}")
        mean = float(_apart(one, other).mean())
        if mean > (CHARTS if name == "figure" else WORDS):
            said.append(f"{what} differs by {mean:.1f} of 255")
        ground = np.abs(np.median(one, axis=(0, 1)) - np.median(other, axis=(0, 1))).max()
        if name in GROUNDED and ground > GROUND:
            said.append(f"{what} has another ground, by {ground:.0f} of 255")
    before, now = _coloured(kept), _coloured(seen)
    if before and not LINES_LEFT[0] <= now / before <= LINES_LEFT[1]:
        said.append(f"its charts have {now / before:.2f} times the colour")
    return said


def _coloured(picture: Picture) -> float:
    """How much of the charts has a strong colour: their lines, and neither bands nor words."""
    charts = [cells.astype(int) for name, cells in picture.parts if name == "figure"]
    return sum(float(np.maximum(np.ptp(each, axis=2) - STRONG, 0).mean()) for each in charts)


def _cell(name: str) -> int:
    return FINE if name == "figure" else CELL


def _apart(one: Cells, other: Cells) -> NDArray[np.float64]:
    """How far each cell is from the most similar of the other's nine around it, whichever way is farther."""
    return np.maximum(_nearest(one, other), _nearest(other, one))


def _nearest(one: Cells, other: Cells) -> NDArray[np.float64]:
    rows, columns, _ = one.shape
    around = np.pad(other.astype(float), ((1, 1), (1, 1), (0, 0)), mode="edge")
    shifted = [around[y : y + rows, x : x + columns] for y in range(3) for x in range(3)]
    return np.min([np.abs(one - each).max(axis=2) for each in shifted], axis=0)


def check(name: str, page: Page) -> None:
    """Compare the page with the picture that is kept, or keep it: ``UPDATE_GOLDEN=1``."""
    path = FOLDER / f"{name}.png"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written(taken(page)))
        return
    assert path.exists(), f"{path.name} does not exist yet: UPDATE_GOLDEN=1 makes it"
    kept = read(path.read_bytes())
    found = difference(kept, taken(page, kept))
    assert not found, f"{name} is not what it was: {'; '.join(found)}. If it is better, UPDATE_GOLDEN=1 keeps it"


def written(picture: Picture) -> bytes:
    """Write the parts below each other as one PNG, to be looked at; where they begin stands in its text.

    Source: www.w3.org/TR/png-3 (colour type 2, filter 2: each line as its difference from the one above).
    """
    widest = max(cells.shape[1] for _, cells in picture.parts)
    padded = [np.pad(cells, ((0, 0), (0, widest - cells.shape[1]), (0, 0))) for _, cells in picture.parts]
    lines = np.concatenate(padded)
    above = np.vstack([np.zeros_like(lines[:1]), lines[:-1]])
    raw = b"".join(b"\x02" + line.tobytes() for line in lines - above)
    parts = " ".join(f"{name}:{cells.shape[0]}x{cells.shape[1]}" for name, cells in picture.parts)
    header = struct.pack(">IIBBBBB", widest, len(lines), 8, 2, 0, 0, 0)
    chunks = {b"IHDR": header, b"tEXt": b"parts\0" + parts.encode(), b"IDAT": zlib.compress(raw, 9), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks.items())


def read(png: bytes) -> Picture:
    """Read what ``written`` wrote."""
    chunks: Mapping[bytes, bytes] = dict(_chunks(png))
    columns, rows = struct.unpack(">II", chunks[b"IHDR"][:8])
    raw = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(rows, 1 + 3 * columns)
    lines = np.cumsum(raw[:, 1:], axis=0, dtype=np.uint8).reshape(rows, columns, 3)
    parts: list[tuple[str, Cells]] = []
    top = 0
    for word in chunks[b"tEXt"].partition(b"\0")[2].decode().split():
        name, _, size = word.partition(":")
        high, wide = map(int, size.split("x"))
        parts.append((name, lines[top : top + high, :wide]))
        top += high
    return Picture(parts)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    at = 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    return found
