"""Convex decomposition against `coacd.run_coacd(mesh, threshold=0.05)` on the same meshes in one run.

Ours is timed from a cold cache with simplification, every retry and the measurement of H1 to H7; the baseline is timed
alone. Both use one thread; seconds are CPU seconds, children included, which other load on the machine disturbs least.
Objects that are convex (one hull from the first rung) are left out.

    OMP_NUM_THREADS=1 python benchmarks/hulls.py [--objects 34] [--foreign 14] [--resolution 96]
        [--modes off,auto] [--every 1] [--deadline 60]

`auto` is the baseline's default and is so slow that it may be run on every n-th mesh only (`--every 1,9`). A baseline
run is ended after `--deadline` CPU seconds and counts as just that many: its true time is longer.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil

from generators.errors import GeneratorError
from generators.families import FAMILIES
from generators.procedural import ProceduralGenerator
from generators.surface import extract_surface
from generators.volume import SparseVolume
from generators.voxelize import voxelize_mesh
from physics.check import Verdict
from physics.crumbs import drop_crumbs
from physics.errors import IsolationError, PhysicsError
from physics.hull_error import HullError, arrays, hull_checks, measure_hulls
from physics.hulls import HullConfig, HullResult, decompose_mesh
from physics.isolate import Sandbox
from physics.mesh import Mesh
from physics.mesh_io import read_mesh
from physics.simplify import simplify_mesh

FOREIGN = (
    "duck.obj",
    "teddy2_VHACD_CHs.obj",
    "bunny.obj",
    "objects/mug.obj",
    "torus/torus_textured.obj",
    "lego/lego.obj",
    "domino/domino.obj",
    "table_square/table.obj",
    "laikago/chassis_zup_lores.obj",
    "laikago/upper_leg_left_lores.obj",
    "laikago/lower_leg3_lores.obj",
    "laikago/hip_motor_lores.obj",
    "a1/meshes/trunk.obj",
    "a1/meshes/thigh.obj",
    "a1/meshes/hip.obj",
    "a1/meshes/calf.obj",
    "quadruped/tmotor3.obj",
    *(f"random_urdfs/{n}/{n}.obj" for n in ("472", "602", "661", "753", "219", "776", "443", "877", "982", "909")),
)
"""Meshes of pybullet_data that nobody here made."""


def solid_mesh(volume: SparseVolume) -> Mesh:
    """Return the surface of a volume as the pipeline makes it."""
    return simplify_mesh(extract_surface(volume), tolerance=0.1 * volume.voxel_size).mesh


def family_meshes(count: int, resolution: int) -> Iterator[tuple[str, Mesh]]:
    """Yield members of all families in turn, one mesh per part."""
    generator = ProceduralGenerator()
    made = 0
    for member in range(count):
        for family in FAMILIES:
            if made == count:
                return
            rng = np.random.default_rng([member, len(family), sum(family.encode())])
            try:
                blueprint = generator.generate(family, rng=rng, resolution=resolution)
            except GeneratorError as error:
                print(f"{family} {member}: not drawn: {error}")
                continue
            made += 1
            for part in blueprint.bodies[0].parts:
                yield f"{family}.{member}/{part.name}", solid_mesh(part.volume)


def foreign_meshes(count: int, resolution: int) -> Iterator[tuple[str, Mesh]]:
    """Yield foreign meshes, made solid first."""
    import pybullet_data

    folder, made = Path(pybullet_data.getDataPath()), 0
    for name in FOREIGN:
        if made == count:
            return
        try:
            volume = voxelize_mesh(read_mesh(folder / name), resolution=resolution)
            mesh, crumbs = drop_crumbs(solid_mesh(volume), volume=volume.voxel_size**3)
        except (GeneratorError, PhysicsError) as error:
            print(f"{name}: not made solid: {str(error)[:100]}")
            continue
        if crumbs:
            print(f"{name}: {crumbs} shells of less than a voxel taken off, for both")
        made += 1
        yield f"{Path(name).parent.name}/{Path(name).stem}".lstrip("/"), mesh


def cpu_seconds() -> float:
    """CPU time of this process and its children, living and ended [s]."""
    me = psutil.Process()
    mine = me.cpu_times()
    ended = mine.children_user + mine.children_system  # a child that was killed at its deadline counts
    return ended + sum(t.user + t.system for t in [mine, *(c.cpu_times() for c in me.children(recursive=True))])


def timed_coacd(vertices: np.ndarray, faces: np.ndarray, mode: str, deadline: float) -> tuple[float, list[np.ndarray]]:
    """Run the baseline and return its CPU seconds and hulls; called in a child process, which dies at the deadline."""
    import resource

    import coacd

    coacd.set_log_level("error")
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(np.ceil(time.process_time() + deadline)), hard))
    start = time.process_time()
    hulls = coacd.run_coacd(coacd.Mesh(vertices, faces), threshold=0.05, preprocess_mode=mode)
    return time.process_time() - start, [points for points, _ in hulls]


def baseline(sandbox: Sandbox, mesh: Mesh, mode: str, name: str, deadline: float) -> tuple[float, HullError | None]:
    """Return CPU seconds and error of the baseline; the deadline and None where it did not finish."""
    from manifold3d import Manifold

    try:
        seconds, hulls = sandbox.call(
            "hulls:timed_coacd", mesh.vertices, mesh.faces, mode, deadline, deadline_s=20 * deadline
        )
    except IsolationError as error:
        print(f"  baseline {mode} on {name}: {str(error).splitlines()[0]}")
        return deadline, None
    meshes = []
    for points in hulls:
        hull = Manifold.hull_points(np.ascontiguousarray(points))
        if hull.volume() > 0:
            vertices, faces = arrays(hull)
            meshes.append(Mesh(vertices, faces.astype(np.int32)))
    return seconds, measure_hulls(mesh, meshes, body=name)


def failed(error: HullError, ids: tuple[str, ...] = ("H2", "H3", "H4")) -> str:
    """Return the identifiers of the checks that fail."""
    return ",".join(sorted({c.id for c in hull_checks(error) if c.id in ids and c.verdict is Verdict.FAIL}))


def report(rows: list[tuple[str, float, HullResult, dict[str, tuple[float, HullError | None]]]], title: str) -> None:
    """Print medians of one group of objects."""
    if not rows:
        return
    passed = sum(not failed(result.error) for _, _, result, _ in rows)
    every = sum(not failed(r.error, ("H1", "H2", "H3", "H4", "H5", "H6")) for _, _, r, _ in rows)
    print(f"\n{title}: {len(rows)} objects that are not convex, 1 thread each")
    iou = np.median([r.error.iou for *_, r, _ in rows])
    print(
        f"  ours: median {np.median([s for _, s, _, _ in rows]):.2f} s, IoU {iou:.4f},"
        f" hulls {np.median([len(r.hulls) for *_, r, _ in rows]):.0f}; H2-H4 hold on {passed / len(rows):.1%},"
        f" H1-H6 on {every / len(rows):.1%}; first rung enough on"
        f" {sum(r.fallback is None for *_, r, _ in rows) / len(rows):.0%}"
    )
    for mode in sorted({mode for *_, base in rows for mode in base}):
        tried = [(ours, result.error, *base[mode]) for _, ours, result, base in rows if mode in base]
        times = np.array([seconds for _, _, seconds, _ in tried])
        ratio = times / np.array([ours for ours, *_ in tried])
        pairs = [(mine, theirs) for _, mine, _, theirs in tried if theirs is not None]
        print(
            f"  CoACD 0.05, preprocess {mode}, on {len(tried)} of them: median {np.median(times):.2f} s; unfinished"
            f" {len(tried) - len(pairs)} (counted as the deadline); SPEED-UP median {np.median(ratio):.1f}x"
            f" (quartiles {np.percentile(ratio, 25):.1f} .. {np.percentile(ratio, 75):.1f})"
        )
        if pairs:
            mine, theirs = zip(*pairs, strict=True)
            print(
                f"    on the {len(pairs)} that finished: IoU median {np.median([e.iou for e in theirs]):.4f}, ours"
                f" {np.median([e.iou for e in mine]):.4f}; hulls {np.median([e.n_hulls for e in theirs]):.0f}, ours"
                f" {np.median([e.n_hulls for e in mine]):.0f}; H2-H4 hold on"
                f" {sum(not failed(e) for e in theirs) / len(theirs):.1%}, ours"
                f" {sum(not failed(e) for e in mine) / len(mine):.1%}"
            )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=34, help="family members")
    parser.add_argument("--foreign", type=int, default=14, help="foreign meshes")
    parser.add_argument("--resolution", type=int, default=96, help="voxels along the longest side")
    parser.add_argument("--skip-baseline", action="store_true", help="time ours only")
    parser.add_argument("--modes", default="off,auto", help="preprocess modes of the baseline; auto is its default")
    parser.add_argument("--every", default="1", help="run a mode on every n-th mesh; one for all or each")
    parser.add_argument("--deadline", type=float, default=60.0, help="CPU seconds for one baseline run")
    options = parser.parse_args()
    named, every_nth = options.modes.split(","), [int(n) for n in options.every.split(",")]
    if len(every_nth) not in (1, len(named)):
        parser.error(f"--every has {len(every_nth)} numbers for {len(named)} modes; give one, or one for each")
    every_nth = every_nth * len(named) if len(every_nth) == 1 else every_nth
    modes = {} if options.skip_baseline else dict(zip(named, every_nth, strict=True))
    print(f"1 thread, deadline {options.deadline:g} CPU s, modes on every n-th mesh: {modes}", flush=True)
    with Sandbox(memory_bytes=8 * 2**30) as sandbox:
        for title, meshes in (
            ("Families", family_meshes(options.objects, options.resolution)),
            ("Foreign meshes", foreign_meshes(options.foreign, options.resolution)),
        ):
            rows = []
            for name, mesh in meshes:
                start = cpu_seconds()
                result = decompose_mesh(mesh, config=HullConfig(), name=name)
                seconds = cpu_seconds() - start
                if result.rung == "one hull":
                    print(f"{name:32s} convex: left out", flush=True)
                    continue
                base = {
                    mode: baseline(sandbox, mesh, mode, name, options.deadline)
                    for mode, every in modes.items()
                    if len(rows) % every == 0
                }
                rows.append((name, seconds, result, base))
                e = result.error
                print(
                    f"{name:32s} F {len(mesh.faces):6d}  ours {seconds:6.2f} s {len(result.hulls):3d} hulls"
                    f" IoU {e.iou:.4f}"
                    f" ({result.rung}) fails [{failed(e, ('H1', 'H2', 'H3', 'H4', 'H5', 'H6'))}]"
                    + "".join(
                        f" | {mode} {s:6.1f} s" + (f" {b.n_hulls:3d} IoU {b.iou:.4f} [{failed(b)}]" if b else " -")
                        for mode, (s, b) in base.items()
                    ),
                    flush=True,
                )
            report(rows, title)


if __name__ == "__main__":
    main()
