"""Verdicts on what PyBullet ships: its thousand random objects, its other objects of one link, and its meshes.

Judged as declared, or with the inertia of solids made closed. Prints how many are accepted and the commonest defects;
all verdicts are written, and the same command resumes.

    python benchmarks/foreign.py --derived --out out/random_urdfs --workers 2
    python benchmarks/foreign.py --what models --out out/models
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from scenegen.errors import AssetError
from scenegen.verification.chain import MOST_FACES
from scenegen.verification.urdf import read_urdf

MATERIAL = "beech"
"""Friction of everything, and density of meshes."""
UNITS = "m"
"""Unit of the meshes."""


def random_objects(root: Path) -> list[Path]:
    """Return the thousand random objects."""
    return sorted(root.glob("random_urdfs/*/*.urdf"))


def other_models(root: Path) -> list[Path]:
    """Return the other URDF files of one rigid link with mass."""
    return [path for path in sorted(root.rglob("*.urdf")) if "random_urdfs" not in path.parts and _is_rigid(path)]


def meshes(root: Path) -> list[Path]:
    """Return the meshes outside the random objects, once each."""
    found = {path.read_bytes(): path for path in sorted(root.rglob("*")) if path.suffix.lower() in (".obj", ".stl")}
    return sorted(path for path in found.values() if "random_urdfs" not in path.parts)


def _is_rigid(path: Path) -> bool:
    from physics.mesh_io import read_objects

    try:
        read_urdf(path, lambda mesh: read_objects(mesh, most_faces=MOST_FACES))
    except AssetError:
        return False
    return True


SETS = {"random": random_objects, "models": other_models, "meshes": meshes}
"""What can be judged, by name."""


def main() -> None:
    """Hand the files to `scenegen verify` and say how long it took."""
    import pybullet_data

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="output folder")
    parser.add_argument("--what", choices=SETS, default="random", help="which files")
    parser.add_argument("--every", type=int, default=1, help="judge every n-th object only")
    parser.add_argument("--derived", action="store_true", help="derive the inertia, make the solids closed")
    parser.add_argument("--workers", type=int, default=2, help="objects at a time")
    given = parser.parse_args()
    files = SETS[given.what](Path(pybullet_data.getDataPath()))[:: given.every]
    begun = time.monotonic()
    altered = ["--derive-inertia", "--solidify"] if given.derived else []
    command = [sys.executable, "-m", "scenegen", "verify", *map(str, files), "--material", MATERIAL, "--units", UNITS]
    done = subprocess.run([*command, *altered, "--out", str(given.out), "--workers", str(given.workers)], check=False)
    print(f"{len(files)} objects in {(time.monotonic() - begun) / 60:.1f} min", flush=True)
    print((given.out / "verification.md").read_text(encoding="utf-8").split("\n| file |")[0])
    sys.exit(done.returncode if done.returncode > 1 else 0)


if __name__ == "__main__":
    main()
