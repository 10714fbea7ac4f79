"""A copy of the small run with large scenes beside its small one, as tests of reports need them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from large_scene import compose, require, write_assets
from pyarrow import parquet

from scenegen.large.publish import PublishLargeConfig, publish_large
from scenegen.reports.summary import SUMMARY, VERIFIED
from scenegen.run import MANIFEST
from scenegen.scenes.publish import POSES, SCENE_JSON, PublishedScene

LARGE = "test"
"""Name of the large scene, which `compose` gives it."""
SMALL = "kitchen_table"
"""Name of the small scene of the small run."""


def make_hall(tiny_out: Path, out: Path, *, objects: int = 14, drawn: bool = False) -> Path:
    """Copy the small run, and make a large scene of its own assets and of plain ones that it does not list.

    Args:
        tiny_out: Output folder of the small run.
        out: Where the copy goes.
        objects: Objects of the large scene.
        drawn: Whether the large scene is drawn, which takes longer than all else; else two pictures of the small scene
            stand in.
    """
    shutil.copytree(tiny_out, out)
    listed = parquet.read_table(out / MANIFEST).column("folder").to_pylist()
    scene = require(compose(out, [*listed, *write_assets(out)[:2]], objects))
    published = publish_large(scene, PublishLargeConfig(str(out), pictures=drawn))
    assert isinstance(published, PublishedScene), published
    if not drawn:
        _borrow_pictures(out)
    add_scene(out, LARGE, VERIFIED)
    return out


def _borrow_pictures(out: Path) -> None:
    files = {}
    for name, taken in (("oblique_color.png", "first_color.png"), ("top_color.png", "second_color.png")):
        shutil.copyfile(out / "scenes" / SMALL / taken, out / "scenes" / LARGE / name)
        files[name] = hashlib.sha256((out / "scenes" / LARGE / name).read_bytes()).hexdigest()
    rewrite(out, LARGE, record=lambda content: content["files"].update(files))


def add_scene(out: Path, name: str, state: str) -> None:
    """Let the summary of a run say how a scene ended."""
    summary = json.loads((out / SUMMARY).read_text())
    summary["scenes"][name] = state
    (out / SUMMARY).write_text(json.dumps(summary))


def rewrite(
    out: Path,
    name: str,
    *,
    record: Callable[[dict], Any] | None = None,
    table: Callable[[pa.Table], pa.Table] | None = None,
) -> None:
    """Change a scene on disk as if it had been made so: its hash follows its table."""
    folder = out / "scenes" / name
    content = json.loads((folder / SCENE_JSON).read_text())
    if table is not None:
        parquet.write_table(table(parquet.read_table(folder / POSES)), folder / POSES)
        content["files"][POSES] = hashlib.sha256((folder / POSES).read_bytes()).hexdigest()
    if record is not None:
        record(content)
    (folder / SCENE_JSON).write_text(json.dumps(content))


def make_many(out: Path, name: str, count: int) -> None:
    """Copy the large scene, and let it hold so many objects: the table is drawn at random, the evidence stays."""
    shutil.copytree(out / "scenes" / LARGE, out / "scenes" / name)
    rng = np.random.default_rng(0)
    components = _components(name, count, rng)
    sizes = [components.count(one) for one in dict.fromkeys(components) if one]

    def spread(held: pa.Table) -> pa.Table:
        rows = held.slice(0, held.num_rows).to_pylist()
        turns = rng.normal(size=(count, 4))
        turns /= np.linalg.norm(turns, axis=1, keepdims=True)
        places = rng.uniform((0.0, 0.0, 0.0), (40.0, 25.0, 2.2), (count, 3))
        return pa.Table.from_pylist(
            [
                {
                    **rows[number % len(rows)],
                    "scene": name,
                    "object": f"{_bay(number)}_board_{number % 5}_{number % 25:03d}",
                    "component": components[number],
                    **dict(zip("xyz", places[number].tolist(), strict=True)),
                    **dict(zip(("qw", "qx", "qy", "qz"), turns[number].tolist(), strict=True)),
                }
                for number in range(count)
            ]
        )

    def restate(content: dict) -> None:
        counts = {
            "alone": components.count(""),
            "in_components": sum(sizes),
            "components": len(sizes),
            "touching": sum(sizes) // 2,
        }
        content |= {"name": name, "objects": count}
        content["counts"] |= {**counts, "largest_component": max(sizes)}

    rewrite(out, name, record=restate, table=spread)
    add_scene(out, name, VERIFIED)


def _components(name: str, count: int, rng: np.random.Generator) -> list[str]:
    """Return a component for two of five objects, from pairs to bins of sixty."""
    found: list[str] = []
    while len(found) < 0.4 * count:
        size = int(rng.choice([2, 2, 2, 3, 4, 12, 30, 60]))
        found += [f"{name}_{_bay(len(found))}_bin_{len(found):05d}"] * size
    return found[:count] + [""] * (count - len(found))


def _bay(number: int) -> str:
    return f"row_{number // 500:02d}_bay_{number // 25 % 20:02d}"
