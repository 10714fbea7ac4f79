"""Collision geometry as PyBullet reads it: one OBJ file with one `o` group per hull, named by its content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from physics.mesh import Mesh


def hulls_obj(hulls: Sequence[Mesh]) -> str:
    """Return OBJ text with one `o` group per hull.

    PyBullet makes one convex shape of each group. Its API for arrays of shapes keeps only the first 16 and says
    nothing; groups of one file have no such limit.

    Args:
        hulls: Convex meshes in the body frame B [m].
    """
    lines: list[str] = []
    first = 1
    for number, hull in enumerate(hulls):
        lines.append(f"o hull_{number}")
        lines += [f"v {x:.17g} {y:.17g} {z:.17g}" for x, y, z in hull.vertices.tolist()]
        lines += [f"f {a + first} {b + first} {c + first}" for a, b, c in hull.faces.tolist()]
        first += len(hull.vertices)
    return "\n".join(lines) + "\n"


def write_hulls(hulls: Sequence[Mesh], folder: Path) -> Path:
    """Write hulls to a file named by the hash of its text and return the path.

    PyBullet keeps shapes by file name, beyond a reset of the simulation: a changed file under an old name would give
    the old shape. A name that is the content cannot be stale.
    """
    text = hulls_obj(hulls)
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()}.obj"
    if not path.exists():
        draft = path.with_suffix(".tmp")
        draft.write_text(text)
        os.replace(draft, path)
    return path
