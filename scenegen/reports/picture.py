"""A finished picture with its depth and segmentation, PNG files with the same bytes every time, contact sheets."""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from scenegen.errors import ReportError
from scenegen.reports.camera import Camera

BACKGROUND, GROUND, FIRST_OBJECT = 0, 1, 2
"""Values of a segmentation: nothing, the ground, and the first object."""

PAPER = (247, 247, 246)
"""Colour of a contact sheet, 8-bit sRGB."""

INK = (58, 62, 68)
"""Colour of its labels, 8-bit sRGB."""


@dataclass(frozen=True, eq=False)
class Picture:
    """What a camera saw."""

    color: UInt8[np.ndarray, "H W 3"]
    """8-bit sRGB."""
    depth: Float32[np.ndarray, "H W"]
    """Distance along the camera's axis at the centre of each pixel [m]; infinite where nothing is."""
    segmentation: Int32[np.ndarray, "H W"]
    """Index into `names` at the centre of each pixel."""
    names: tuple[str, ...]
    """"background", "ground", then every object."""
    camera: Camera

    def __post_init__(self) -> None:
        for array in (self.color, self.depth, self.segmentation):
            array.setflags(write=False)


def png_bytes(image: np.ndarray) -> bytes:
    """Return an image as PNG, without date or software: equal images give equal bytes.

    Args:
        image: uint8 (H, W, 3), uint8 (H, W) or uint16 (H, W).

    Raises:
        ReportError: The array is no such image.
    """
    kinds = {("uint8", 3): (8, 2), ("uint8", 2): (8, 0), ("uint16", 2): (16, 0)}
    kind = kinds.get((image.dtype.name, image.ndim))
    if kind is None or (image.ndim == 3 and image.shape[2] != 3) or 0 in image.shape:
        raise ReportError(
            f"an array {image.shape} of {image.dtype} is no picture; expected 8-bit RGB or grey, 16-bit grey"
        )
    rows = np.ascontiguousarray(image.astype(image.dtype.newbyteorder(">"))).view(np.uint8).reshape(len(image), -1)
    step = 3 if image.ndim == 3 else image.dtype.itemsize
    filtered = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = 1  # filter "sub": each byte minus that of the pixel to the left
    filtered[:, 1:] = rows
    filtered[:, 1 + step :] -= rows[:, :-step]
    header = struct.pack(">IIBBBBB", image.shape[1], image.shape[0], *kind, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes(), 6)), (b"IEND", b""))
    body = (
        struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data)) for tag, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def save_png(image: np.ndarray, path: str | Path) -> Path:
    """Write an image (uint8 RGB or grey, uint16 grey) as PNG, whole or not at all."""
    path = Path(path)
    data = png_bytes(image)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)
    return path


def contact_sheet(
    pictures: Sequence[np.ndarray], labels: Sequence[str], *, columns: int = 6, gap: int = 10
) -> UInt8[np.ndarray, "H W 3"]:
    """Return pictures of one size in a grid, each with its label beneath.

    Args:
        pictures: uint8 RGB images, all of one shape.
        labels: One line each; a line that is too long is cut.
        columns: Pictures in a row.
        gap: Space between pictures [pixels].

    Raises:
        ReportError: No pictures, different shapes, or another number of labels.
    """
    from PIL import Image, ImageDraw, ImageFont

    shapes = {picture.shape for picture in pictures}
    if len(shapes) != 1 or len(labels) != len(pictures):
        raise ReportError(
            f"a contact sheet needs pictures of one shape and a label each; got {len(pictures)} pictures of shapes "
            f"{sorted(shapes)} and {len(labels)} labels"
        )
    height, width, _ = shapes.pop()
    columns = min(columns, len(pictures))
    text = max(11, width // 18)
    font = ImageFont.load_default(text)
    cell_w, cell_h = width + gap, height + gap + text + text // 2
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell_w + gap, rows * cell_h + gap), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        x, y = gap + number % columns * cell_w, gap + number // columns * cell_h
        sheet.paste(Image.fromarray(np.asarray(picture)), (x, y))
        while label and draw.textlength(label, font=font) > width:
            label = label[:-1]
        draw.text((x + width / 2, y + height + text // 4), label, fill=INK, font=font, anchor="ma")
    return np.array(sheet)
