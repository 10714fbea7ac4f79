"""TrainingLog: one line of JSON per report, and a picture of the losses that is drawn anew as they come."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from generators.ssa.shards import write_atomically

PANEL = (640, 300)
"""Size of the plot of one phase [pixel]."""
MARGINS = (64, 28, 16, 28)
"""Left, top, right and bottom margin of a plot [pixel]."""
TRAIN, TEST, GRID, TEXT = "#1f5fa8", "#c2410c", "#e2e2e2", "#222222"


@dataclass(frozen=True)
class TrainingLog:
    """`log.jsonl` and `loss.png` in a folder."""

    folder: Path

    @property
    def path(self) -> Path:
        """The lines."""
        return self.folder / "log.jsonl"

    def lines(self) -> list[dict[str, Any]]:
        """Return all whole lines; one that a kill cut short is left out."""
        if not self.path.exists():
            return []
        found = []
        for text in self.path.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(text))
            except ValueError:
                break
        return found

    def write(self, line: Mapping[str, Any]) -> None:
        """Add a line, and draw."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, sort_keys=True) + "\n")
        write_atomically(self.folder / "loss.png", draw_losses(self.lines()))

    def cut(self, phase: str, step: int) -> None:
        """Drop what a run wrote after the state it resumes from: lines of the phase beyond the step."""
        lines = self.lines()
        kept = [line for line in lines if line["phase"] != phase or line["step"] <= step]
        if self.path.exists():
            text = "".join(json.dumps(line, sort_keys=True) + "\n" for line in kept)
            write_atomically(self.path, text.encode())


def draw_losses(lines: Sequence[Mapping[str, Any]]) -> bytes:
    """Return a PNG with one plot per phase: loss over steps on a logarithmic scale, training and test."""
    phases = list(dict.fromkeys(line["phase"] for line in lines))
    width, height = PANEL
    image = Image.new("RGB", (width, height * max(1, len(phases))), "white")
    draw = ImageDraw.Draw(image)
    for place, phase in enumerate(phases):
        _draw_phase(draw, phase, [line for line in lines if line["phase"] == phase], place * height)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _draw_phase(draw: ImageDraw.ImageDraw, phase: str, lines: Sequence[Mapping[str, Any]], top: int) -> None:
    left, above, right, below = MARGINS
    x0, x1, y0, y1 = left, PANEL[0] - right, top + above, top + PANEL[1] - below
    series = {
        key: [(line["step"], math.log10(max(line[key], 1e-12))) for line in lines if key in line]
        for key in ("loss", "test")
    }
    every = [value for points in series.values() for _, value in points]
    low, high = min(every), max(every)
    low, high = (low - 0.05, high + 0.05) if high - low < 0.1 else (low, high)
    last = max(line["step"] for line in lines)
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = y1 - share * (y1 - y0)
        draw.line([(x0, y), (x1, y)], fill=GRID)
        draw.text((6, y - 6), f"{10 ** (low + share * (high - low)):.3g}", fill=TEXT)
    draw.text((x1 - 60, y1 + 6), f"step {last}", fill=TEXT)
    draw.text((x0, top + 8), f"{phase}: loss", fill=TRAIN)
    draw.text((x0 + 160, top + 8), "test split, averaged weights", fill=TEST)
    for (_, points), colour in zip(series.items(), (TRAIN, TEST), strict=True):
        place = [(x0 + s / last * (x1 - x0), y1 - (v - low) / (high - low) * (y1 - y0)) for s, v in points]
        if len(place) > 1:
            draw.line(place, fill=colour, width=2)
        for x, y in place[-1:]:
            draw.ellipse([x - 2, y - 2, x + 2, y + 2], fill=colour)
