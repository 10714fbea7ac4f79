"""Certified objects a minute and the certified share, over a mix of all families, nothing thinned.

    python benchmarks/throughput.py [--count 200] [--resolution 128] [--workers 2]

Runs `scenegen run` on a fresh output folder without replacement draws, so that every drawn object counts, and prints
the share that was certified, every rejection with its reason, and the time of each stage.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import yaml


def main() -> int:
    """Run, then print the figures; exit code 1 when a target of the README is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=None, help="output folder; a temporary one when left out")
    arguments = parser.parse_args()
    out = arguments.out or Path(tempfile.mkdtemp(prefix="scenegen_throughput_"))
    config = {
        "name": "throughput",
        "seed": arguments.seed,
        "attempts_per_object": 1,
        "generator": {"kind": "procedural", "resolution": arguments.resolution},
        "objects": [{"families": "all", "count": arguments.count}],
    }
    path = out.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "scenegen", "run", str(path), "--out", str(out)]
    subprocess.run([*command, "--workers", str(arguments.workers)], check=False)
    return report(out)


def report(out: Path) -> int:
    """Print the figures of a finished run."""
    summary = json.loads((out / "summary.json").read_text())
    drawn, certified = summary["generated"], summary["certified"]
    warned = summary["verdicts"].get("WARN", 0)
    print(f"\ndrawn {drawn}, certified {certified} = {certified / drawn:.1%} (target at least 95 %)")
    print(f"only WARN: {warned} = {warned / max(certified, 1):.1%} of the certified (target at most 25 %)")
    print(f"{summary['objects_per_minute']:.1f} certified objects a minute (target at least 8, aim 20)")
    manifest = pq.read_table(out / "manifest.parquet").to_pylist()
    warnings = Counter((row["category"], row["verdict"]) for row in manifest if row["verdict"] == "WARN")
    for (family, _), count in sorted(warnings.items(), key=lambda pair: -pair[1]):
        print(f"  WARN {count:3d} x {family}")
    for row in pq.read_table(out / "rejections.parquet").to_pylist():
        print(f"  rejected {row['item_id']} {row['category']} at {row['stage']}: {row['message'] or row['reason']}")
    for one in summary["quarantined"]:
        print(f"  quarantined {one['item']} at {one['stage']}: {one['error'].splitlines()[0]}")
    for stage in summary["stages"]:
        print(f"  {stage['stage']:14} {stage['cpu_seconds'] / max(stage['calls'], 1):6.2f} CPU s an object")
    return int(certified < 0.95 * drawn or warned > 0.25 * certified or summary["objects_per_minute"] < 8)


if __name__ == "__main__":
    sys.exit(main())
