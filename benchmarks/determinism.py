"""Equal bytes whatever the executor, the worker count and the crashes.

Runs one configuration serially, on Ray with one worker and on Ray with two, and once more with the driver killed
(SIGKILL) at random moments and started again; compares the hash of every file of every asset and scene.

    python benchmarks/determinism.py [--config configs/determinism.yaml] [--kills 10]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scenegen.reports.summary import VOLATILE_FILES


def tree_hashes(out: Path) -> dict[str, str]:
    """Return the SHA-256 of every delivered file; the store and the files that may vary are left out."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in VOLATILE_FILES and not path.relative_to(out).parts[0].startswith(".")
    }


def command(config: Path, out: Path, *options: str) -> list[str]:
    """Return the command line of one run."""
    return [sys.executable, "-m", "scenegen", "run", str(config), "--out", str(out), *options]


def run_killed(config: Path, out: Path, *, kills: int, longest_s: float, rng: random.Random) -> tuple[int, int]:
    """Kill the driver's process group `kills` times, then let it finish; return (kills that hit, exit code)."""
    hit = 0
    while hit < kills:
        process = subprocess.Popen(command(config, out), start_new_session=True, stdout=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.05, 1.0) * longest_s)
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        hit += 1
    return hit, subprocess.run(command(config, out), stdout=subprocess.DEVNULL, check=False).returncode


def computed_counts(out: Path) -> dict[str, int]:
    """Return how often each (stage, input) was finished, from the append-only ledger of the store."""
    counts: dict[str, int] = {}
    for ledger in sorted(out.rglob("ledger.jsonl")):
        for line in ledger.read_text().splitlines():
            key = json.loads(line)["key"]
            counts[key] = counts.get(key, 0) + 1
    return counts


def main() -> int:
    """Run all variants and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/determinism.yaml"))
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments at which the driver is killed")
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="scenegen_determinism_"))
    variants = {
        "serial": ["--executor", "serial"],
        "ray, 1 worker": ["--workers", "1"],
        "ray, 2 workers": ["--workers", "2"],
    }
    hashes: dict[str, dict[str, str]] = {}
    seconds = {}
    for name, options in variants.items():
        start = time.monotonic()
        out = root / name.replace(", ", "_").replace(" ", "_")
        subprocess.run(command(arguments.config, out, *options), stdout=subprocess.DEVNULL, check=False)
        seconds[name], hashes[name] = time.monotonic() - start, tree_hashes(out)
    killed = root / "killed"
    hit, code = run_killed(
        arguments.config,
        killed,
        kills=arguments.kills,
        longest_s=seconds["ray, 2 workers"] / 3,
        rng=random.Random(arguments.seed),
    )
    name = f"ray, 2 workers, killed {hit} times"
    hashes[name] = tree_hashes(killed)
    twice = sum(count > 1 for count in computed_counts(killed).values())

    reference = hashes["serial"]
    failed = not reference
    print(f"{'variant':32} {'files':>6} {'differ':>7} {'missing':>8} {'extra':>6}")
    for name, found in hashes.items():
        differ = sum(found[path] != digest for path, digest in reference.items() if path in found)
        missing, extra = len(reference.keys() - found.keys()), len(found.keys() - reference.keys())
        failed |= bool(differ or missing or extra)
        print(f"{name:32} {len(found):6d} {differ:7d} {missing:8d} {extra:6d}")
    print(f"finished items computed twice: {twice}; last exit code {code}")
    shutil.rmtree(root)
    return int(failed or twice > 0)


if __name__ == "__main__":
    sys.exit(main())
