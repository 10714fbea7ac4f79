"""Scenes of thousands: time, memory and their growth; loading; and the proof that components are exact.

    python benchmarks/scale.py grow --library out/demo [--counts 100 1000 10000] [--layout warehouse] [--workers 2]
        [--options '{shares: {poured: 0.2, stacked: 0.22}}']
    python benchmarks/scale.py exact --library out/demo [--objects 300]
    python benchmarks/scale.py pile --library out/demo [--objects 1000] [--hulls 8 32] [--smallest 0.04]
        [--no-naive] [--no-verify]
    python benchmarks/scale.py load --scene out/warehouse/scenes/warehouse
    python benchmarks/scale.py still --scene out/warehouse/scenes/warehouse [--seconds 5] [--share 0.05] [--largest 20]

`grow` makes a scene of each size from the assets of an earlier run, on a fresh output folder each, and prints wall and
processor time, peak memory of all its processes and the exponent of growth. `load` times a written scene in stock
MuJoCo, `still` steps it with a part of its objects awake (`still.py`). `exact` verifies one scene by components and as
one model, with the contact solver run to its end and not. `pile` brings a poured pile to rest, against one model of
everything in either engine; see `pile.py`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import psutil
import yaml

LOAD_XML_S, LOAD_MJB_S, ASLEEP_MS = 180.0, 10.0, 6.0
"""Targets of loading and of a step with all objects asleep."""
TOUCHING = 0.4
"""Target for the share of the objects that touch another."""
WATCH_S = 2.0
"""Time between two looks at the memory of all processes [s]: each costs a tenth of a second of a core."""
GROWTH = 1.1
"""Largest exponent of time and memory."""


def main() -> int:
    """Run one of the measurements; exit code 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind in ("grow", "exact"):
        one = kinds.add_parser(kind)
        one.add_argument("--library", type=Path, required=True, help="output folder of a run with certified assets")
        one.add_argument("--layout", default="warehouse")
        one.add_argument("--seed", type=int, default=1)
        one.add_argument("--out", type=Path, default=None, help="a temporary folder when left out")
    kinds.choices["grow"].add_argument("--counts", type=int, nargs="+", default=[100, 1000, 10000])
    kinds.choices["grow"].add_argument("--workers", type=int, default=2)
    kinds.choices["grow"].add_argument("--options", type=yaml.safe_load, default={}, help="of the layout, as YAML")
    kinds.choices["exact"].add_argument("--objects", type=int, default=300)
    heap = kinds.add_parser("pile")
    heap.add_argument("--library", type=Path, required=True, help="output folder of a run with certified assets")
    heap.add_argument("--objects", type=int, default=1000)
    heap.add_argument("--hulls", type=int, nargs=2, default=[8, 32], help="fewest and most hulls of an asset")
    heap.add_argument("--smallest", type=float, default=0.0, help="least largest-extent of an asset [m]")
    heap.add_argument("--seed", type=int, default=1)
    heap.add_argument("--out", type=Path, default=None, help="a temporary folder when left out")
    heap.add_argument("--no-verify", dest="verify", action="store_false", help="measure the speed of settling only")
    heap.add_argument("--no-naive", dest="naive", action="store_false", help="compare with no model of everything")
    for kind in ("load", "still"):
        kinds.add_parser(kind).add_argument("--scene", type=Path, required=True, help="folder of a large scene")
    kinds.choices["still"].add_argument("--seconds", type=float, default=5.0)
    kinds.choices["still"].add_argument("--share", type=float, default=0.05, help="of the components, kept awake")
    kinds.choices["still"].add_argument("--largest", type=int, default=20, help="of the components, kept awake as well")
    kinds.choices["still"].add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.kind == "load":
        return int(not load(arguments.scene))
    if arguments.kind == "still":
        from still import still

        asked = {name: getattr(arguments, name) for name in ("seconds", "share", "largest", "seed")}
        return int(not still(arguments.scene, **asked))
    out = arguments.out or Path(tempfile.mkdtemp(prefix="scenegen_scale_"))
    out.mkdir(parents=True, exist_ok=True)
    if arguments.kind == "pile":
        from pile import race

        return int(not race(arguments, out))
    return int(not (grow if arguments.kind == "grow" else exact)(arguments, out))


def grow(arguments: argparse.Namespace, out: Path) -> bool:
    """Make a scene of each size; return whether all were verified and nothing grows too fast."""
    rows = []
    for count in arguments.counts:
        config = {
            "name": f"scale_{count}",
            "seed": arguments.seed,
            "assets": {"import": str(arguments.library)},
            "scenes": [{"name": "large", "layout": arguments.layout, "objects": count, "options": arguments.options}],
        }
        folder = out / f"of_{count}"
        path = out / f"of_{count}.yaml"
        path.write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "scenegen", "run", str(path), "--out", str(folder)]
        wall, peak, code = watch([*command, "--workers", str(arguments.workers)])
        cpu = {stage: stage_seconds(folder, stage) for stage in ("stance", "component", "scene")}
        rows.append((count, wall, sum(cpu.values()), peak))
        spent = ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in cpu.items())
        print(f"{count:6d} objects: {wall:7.0f} s wall, CPU s: {spent}; peak {peak / 2**30:.2f} GiB, exit code {code}")
        if code:
            return False
        describe(folder / "scenes" / "large")
        load(folder / "scenes" / "large")
    if len(rows) < 2:
        return True
    counts, *values = np.log(np.array(rows, dtype=np.float64)).T
    exponents = [float(np.polyfit(counts, value, 1)[0]) for value in values]
    for name, exponent in zip(("wall time", "processor time", "peak memory"), exponents, strict=True):
        print(f"{name} grows as N^{exponent:.2f} (target at most {GROWTH})")
    return max(exponents) <= GROWTH


def watch(command: list[str]) -> tuple[float, int, int]:
    """Run a command; return its wall time [s], the peak memory of all its processes [byte], and its exit code."""
    begun, peak = time.monotonic(), 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    root = psutil.Process(process.pid)
    while process.poll() is None:
        held = 0
        for one in [root, *children(root)]:
            try:
                held += one.memory_full_info().pss  # pages that processes share are counted once
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        peak = max(peak, held)
        time.sleep(WATCH_S)
    return time.monotonic() - begun, peak, process.returncode


def children(root: psutil.Process) -> list[psutil.Process]:
    """Return the processes below one, none when it has ended."""
    try:
        return root.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def stage_seconds(folder: Path, stage: str) -> float:
    """Return the processor time of all calls of a stage [s]."""
    notes = (folder / ".store" / "times" / stage).glob("*/*")
    return sum(json.loads(note.read_text())["cpu_seconds"] for note in notes)


def describe(scene: Path) -> None:
    """Print what a scene holds."""
    record = json.loads((scene / "scene.json").read_text())
    counts = record["counts"]
    together = counts["in_components"] / record["objects"]
    print(
        f"        {record['verdict']} in both engines: {record['assets']} assets, {record['geoms']} geoms; "
        f"{counts['alone']} alone, {counts['components']} components, {counts['stacks']} of them stacks that stand as "
        f"their stance; {counts['sampled']} of what stands so judged on the spot; components "
        f"of up to {counts['largest_component']} ({together:.0%} of the objects); {len(record['replaced'])} replaced, "
        f"{len(record['merged'])} merged"
    )


def load(scene: Path) -> bool:
    """Load a scene with stock MuJoCo and step it asleep; return whether all is fast enough."""
    import mujoco

    from scenegen.large.delivered import count_touching, find_contacts

    begun = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mujoco.MjModel.from_xml_path(str(scene / "scene.xml"))
    xml = time.perf_counter() - begun
    begun = time.perf_counter()
    model = mujoco.MjModel.from_binary_path(str(scene / "scene.mjb"))
    binary = time.perf_counter() - begun
    touching = count_touching(model, find_contacts(model)) / model.ntree
    model.opt.enableflags |= int(mujoco.mjtEnableBit.mjENBL_SLEEP)
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data)
    begun, steps = time.process_time(), 100
    mujoco.mj_step(model, data, steps)
    step = (time.process_time() - begun) / steps * 1e3
    print(
        f"        loads in {xml:.1f} s from XML (at most {LOAD_XML_S:g}), {binary:.2f} s from MJB (at most "
        f"{LOAD_MJB_S:g}); {step:.2f} ms of processor time a step asleep (at most {ASLEEP_MS:g}), "
        f"{data.ntree_awake} of {model.ntree} awake; {touching:.0%} of the objects touch another "
        f"(at least {TOUCHING:.0%})"
    )
    return xml <= LOAD_XML_S and binary <= LOAD_MJB_S and step <= ASLEEP_MS and touching >= TOUCHING


def exact(arguments: argparse.Namespace, out: Path) -> bool:
    """Compare components with one model of the whole; return whether they agree."""
    from scenegen.assets.library import take_assets
    from scenegen.config import read_config
    from scenegen.large.compose import LargeConfig, LargePlan, compose_large
    from scenegen.large.exactness import measure_exactness
    from scenegen.large.scene import LargeScene
    from scenegen.pipeline.observer import SilentObserver
    from scenegen.pipeline.run_serial import run_serial
    from scenegen.pipeline.store import Store
    from scenegen.scenes.verify import SceneCheckConfig

    text = yaml.safe_dump(
        {
            "name": "exact",
            "assets": {"import": str(arguments.library)},
            "scenes": [{"name": "large", "layout": arguments.layout, "objects": arguments.objects}],
        }
    )
    options = read_config(text).scenes[0].options
    folders = sorted(asset.folder for asset in take_assets(arguments.library, out))
    plan = LargePlan("large", arguments.layout, options, arguments.objects, arguments.seed)
    store = Store(out / ".store")
    scene = compose_large(plan, folders, str(out), store, run_serial, SilentObserver(), LargeConfig())
    if not isinstance(scene, LargeScene):
        print(scene.message)
        return False
    good = True
    for converged in (True, False):
        begun = time.process_time()
        found = measure_exactness(scene, str(out), SceneCheckConfig(), converged=converged)
        good &= found.exact
        print(
            f"{found.objects} objects, {found.components} components against one model, solver "
            f"{'run to its end' if converged else 'as in verdicts'}: positions differ by up to {found.position:.2g} m, "
            f"orientations by {found.angle:.2g} rad (of stacks {found.stack_position:.2g} m, "
            f"{found.stack_angle:.2g} rad), after {SceneCheckConfig().hold_seconds:g} s; largest drift "
            f"{found.drift:.2g} m; failing in the whole {len(found.failing_in_whole)}, in components "
            f"{len(found.failing_in_parts)}: {'equal' if found.exact else 'NOT EQUAL'} "
            f"({time.process_time() - begun:.0f} s of processor time)"
        )
    return good


if __name__ == "__main__":
    sys.exit(main())
