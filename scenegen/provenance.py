"""Where a result comes from: digests of the configuration and the code, versions, and the random draws of an item."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np

from scenegen.arithmetic import arithmetic_digest

LIBRARIES = (
    "scenegen",
    "numpy",
    "scipy",
    "torch",
    "mujoco",
    "pybullet",
    "coacd",
    "trimesh",
    "manifold3d",
    "libigl",
    "embreex",
    "ray",
    "pydantic",
    "pyarrow",
    "pillow",
)
"""Distributions whose version may change a result, and is therefore recorded."""

RESULT_LIBRARIES = ("numpy", "scipy", "torch", "mujoco", "pybullet", "coacd", "trimesh", "manifold3d", "libigl")
"""Distributions whose version does change results: part of the code digest, so that stored results are not reused."""

PACKAGES = ("physics", "generators", "scenegen")
"""Our packages, whose source is part of the code digest."""


def item_rng(seed: int, item_id: str, purpose: str) -> np.random.Generator:
    """Return the random generator of one item for one purpose.

    The stream depends on nothing else: not on the worker, the order of items or how often a run was restarted.

    Args:
        seed: Seed of the run.
        item_id: Stable name of the item in its run.
        purpose: What is drawn, such as "generate" or "drop"; one stream each, so that adding a draw
            to one purpose leaves the others as they were.
    """
    text = json.dumps([int(seed), item_id, purpose])
    entropy = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


def config_digest(config: object) -> str:
    """Return the SHA-256 of a configuration record, nested records included."""
    from scenegen.pipeline.codec import record_digest

    return record_digest(config)


@cache
def library_versions() -> dict[str, str]:
    """Return the versions of Python and of every recorded library; "not installed" where one is missing."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


@cache
def code_digest() -> str:
    """Return the SHA-256 of all that decides results: our source, libraries, and how this machine rounds.

    It is meant as the version of a stage: after any change of the code, or on another kind of processor, a stored
    result is computed again, so that no result of other code can pass for one of the present.
    """
    sha = hashlib.sha256(arithmetic_digest().encode())
    versions = library_versions()
    sha.update(json.dumps([[name, versions[name]] for name in RESULT_LIBRARIES]).encode())
    root = Path(__file__).resolve().parents[1]
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            sha.update(f"{path.relative_to(root).as_posix()}\0".encode())
            sha.update(hashlib.sha256(path.read_bytes()).digest())
    return sha.hexdigest()


@cache
def git_commit() -> str | None:
    """Return the commit of the source tree, with "+changes" when it was edited; None outside a checkout."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return f"{commit}+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.SubprocessError):  # no git on this machine, or a foreign owner of the checkout
        return None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()
