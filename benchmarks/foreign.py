"""Verdicts on PyBullet's thousand random objects: as declared, or with the inertia of their solids made closed.

Prints how many are accepted and the commonest defects; all verdicts are written, and the same command resumes.

    python benchmarks/foreign.py --derived --out out/random_urdfs --workers 2
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    """Hand the files to `scenegen verify` and say how long it took."""
    import pybullet_data

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="output folder")
    parser.add_argument("--every", type=int, default=1, help="judge every n-th object only")
    parser.add_argument("--derived", action="store_true", help="derive the inertia, make the solids closed")
    parser.add_argument("--workers", type=int, default=2, help="objects at a time")
    given = parser.parse_args()
    models = sorted(Path(pybullet_data.getDataPath(), "random_urdfs").glob("*/*.urdf"))[:: given.every]
    begun = time.monotonic()
    altered = ["--derive-inertia", "--solidify"] if given.derived else []
    command = [sys.executable, "-m", "scenegen", "verify", *map(str, models), "--material", "beech"]
    done = subprocess.run([*command, *altered, "--out", str(given.out), "--workers", str(given.workers)], check=False)
    print(f"{len(models)} objects in {(time.monotonic() - begun) / 60:.1f} min", flush=True)
    print((given.out / "verification.md").read_text(encoding="utf-8").split("\n| file |")[0])
    sys.exit(done.returncode if done.returncode > 1 else 0)


if __name__ == "__main__":
    main()
