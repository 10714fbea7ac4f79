"""Certified objects a minute with 1 and 2 workers, and what that says of clusters: a table and a plot.

    python benchmarks/scaling.py [--count 20] [--workers 1 2] [--plot docs/scaling.png]

Each run makes the same objects in a fresh folder. What a worker spends on an object and what the driver spends on it
are measured; rates of more machines are reckoned from the two: workers add up until the driver is busy all the time.
Exit code 1 when the most workers make less than 1.6 times as much for each doubling.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml
from PIL import Image, ImageDraw, ImageFont

CORES = 16
"""Cores of a machine in the reckoned part [1]."""
MACHINES = (1, 8, 64, 512)
LEAST_DOUBLING = 1.6
SIZE, MARGIN = (760, 440), (70, 50, 30, 60)
"""Of the plot, and left, above, right, below [pixels]."""
MEASURED, RECKONED, IDEAL, GRID, TEXT = "#1f6fb4", "#c0392b", "#999999", "#e4e4e4", "#333333"


@dataclass(frozen=True)
class Rate:
    """One run."""

    workers: int
    certified: int
    wall: float
    """From its start to its end [s]."""
    starting: float
    """Of that, before the first stage call and after the last [s]."""
    busy: float
    """Processor time of stage calls [s]."""
    driver: float
    """Processor time of the driver after the first call had ended [s]."""

    @property
    def a_minute(self) -> float:
        """Certified objects a minute while stages ran."""
        return 60 * self.certified / (self.wall - self.starting)


def main() -> int:
    """Run, print, plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--plot", type=Path, default=None)
    arguments = parser.parse_args()
    rates = [measure(workers, arguments.count, arguments.resolution) for workers in arguments.workers]
    for rate in rates:
        print(
            f"{rate.workers:3d} workers: {rate.certified} certified in {rate.wall:.0f} s ({rate.starting:.0f} s to "
            f"start and end), {rate.a_minute:.1f} a minute; {rate.busy / rate.certified:.1f} s of workers and "
            f"{rate.driver / rate.certified:.2f} s of the driver each"
        )
    first, last = rates[0], rates[-1]
    gain = (last.a_minute / first.a_minute) ** (1 / max(math.log2(last.workers / first.workers), 1e-9))
    print(f"each doubling of workers: x {gain:.2f} (at least {LEAST_DOUBLING:g})")
    for machines in MACHINES:
        alone, limited = reckoned(last, machines)
        print(f"{machines:4d} machines of {CORES} cores: workers alone {alone:.0f} a minute, one driver {limited:.0f}")
    if arguments.plot:
        draw(rates).save(arguments.plot)
    return int(len(rates) > 1 and gain < LEAST_DOUBLING)


def measure(workers: int, count: int, resolution: int) -> Rate:
    """Make certified objects in a fresh folder with so many workers."""
    config = {
        "name": "scaling",
        "seed": 1,
        "attempts_per_object": 1,
        "generator": {"kind": "procedural", "resolution": resolution},
        "objects": [{"families": "all", "count": count}],
    }
    with tempfile.TemporaryDirectory(prefix="scenegen_scaling_") as folder:
        path, out = Path(folder) / "scaling.yaml", Path(folder) / "out"
        path.write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "scenegen", "run", str(path), "--out", str(out), "--workers", str(workers)]
        begun, driver, before = time.monotonic(), 0.0, None
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                spent = watched.cpu_times()
                driver = spent.user + spent.system
                if before is None and (out / ".store" / "times").exists():  # the first call has ended: all is imported
                    before = driver
            except psutil.NoSuchProcess:
                break
            time.sleep(0.2)
        wall = time.monotonic() - begun
        summary = json.loads((out / "summary.json").read_text())
        notes = [
            (note.stat().st_mtime, json.loads(note.read_text())["seconds"])
            for note in (out / ".store" / "times").glob("*/*/*")
        ]
        running = max(end for end, _ in notes) - min(end - seconds for end, seconds in notes)
        busy = sum(stage["cpu_seconds"] for stage in summary["stages"])
        return Rate(workers, summary["certified"], wall, max(wall - running, 0.0), busy, driver - (before or 0.0))


def reckoned(rate: Rate, machines: int) -> tuple[float, float]:
    """Return objects a minute that the workers of so many machines could make, and with one driver."""
    alone = 60 * machines * CORES / (rate.busy / rate.certified)
    return alone, min(alone, 60 / (rate.driver / rate.certified))


def draw(rates: list[Rate]) -> Image.Image:
    """Return the plot: objects a minute over workers, both logarithmic."""
    image = Image.new("RGB", SIZE, "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    last = rates[-1]
    points = [(rate.workers, rate.a_minute) for rate in rates]
    limited = [(machines * CORES, reckoned(last, machines)[1]) for machines in MACHINES]
    alone = [(machines * CORES, reckoned(last, machines)[0]) for machines in MACHINES]
    x_range = (math.log10(rates[0].workers), math.log10(MACHINES[-1] * CORES))
    y_range = (math.log10(min(y for _, y in points) / 1.5), math.log10(max(y for _, y in alone) * 1.5))
    left, above, right, below = MARGIN

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - x_range[0]) / (x_range[1] - x_range[0])
        up = (math.log10(y) - y_range[0]) / (y_range[1] - y_range[0])
        return left + across * (SIZE[0] - left - right), SIZE[1] - below - up * (SIZE[1] - above - below)

    for power in range(math.ceil(y_range[0]), math.floor(y_range[1]) + 1):
        _, y = place(1, 10.0**power)
        pen.line([(left, y), (SIZE[0] - right, y)], fill=GRID)
        pen.text((left - 10, y), f"{10**power:,}", fill=TEXT, font=font, anchor="rm")
    for workers in sorted({rate.workers for rate in rates} | {machines * CORES for machines in MACHINES}):
        x, y = place(workers, 10 ** y_range[0])
        pen.line([(x, above), (x, y)], fill=GRID)
        pen.text((x, y + 8), f"{workers:,}", fill=TEXT, font=font, anchor="ma")
    pen.line([place(*point) for point in [points[-1], *alone]], fill=IDEAL, width=1)
    pen.line([place(*point) for point in [points[-1], *limited]], fill=RECKONED, width=2)
    pen.line([place(*point) for point in points], fill=MEASURED, width=2)
    for colour, row in ((RECKONED, limited), (MEASURED, points)):
        for point in row:
            x, y = place(*point)
            pen.ellipse([x - 4, y - 4, x + 4, y + 4], fill=colour)
    pen.text((left, 12), "certified objects a minute", fill=TEXT, font=font)
    pen.text((left + 200, 12), "measured", fill=MEASURED, font=font)
    pen.text((left + 280, 12), "reckoned with one driver", fill=RECKONED, font=font)
    pen.text((left + 460, 12), "workers alone", fill=IDEAL, font=font)
    pen.text(((left + SIZE[0] - right) / 2, SIZE[1] - 22), "workers, one core each", fill=TEXT, font=font, anchor="ma")
    return image


if __name__ == "__main__":
    sys.exit(main())
