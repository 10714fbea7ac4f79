"""Nothing lost, doubled or changed, whatever is killed, hung, filled or damaged in mid-run.

Makes a configuration twice: serially and undisturbed, then on a Ray of several nodes with faults injected: workers,
nodes and the driver killed, native code hung until its deadline, the disk filled until writes fail, stored files
damaged. Every fault is aimed at a call in flight and counts only once the run has shown that it was hit; one that
hits nothing is tried again. After faults that end the driver the same command is run again, as a user would.

    python benchmarks/chaos.py [--faults 50] [--config configs/chaos.yaml] [--out chaos]

Two failures of one call quarantine the item, by design: no stage of an item is hit twice. The disk is a tmpfs of its
own, so root, or a user namespace, is needed: unshare --user --map-root-user --mount python benchmarks/chaos.py
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from chaos_faults import Faults, Hit, Missed
from chaos_machine import Disk, Driver, Machine, Nodes
from chaos_reference import Comparison, compare, read_calls

from scenegen.config import STAGES
from scenegen.run import SCENE

EACH = 8
"""Least faults of each kind, of 50 [1]."""
SPREAD = 0.9
"""Share of the run over which the faults are spread [1]."""
TRIES = 6
"""How often one fault is tried [1]."""
NODES = 2
"""Nodes beside the head [1]."""
STALLED_SECONDS = 900.0
"""Longest wait for the next result; beyond it the run has stalled [s]."""


@dataclass(frozen=True)
class Fault:
    """One injected fault."""

    number: int
    kind: str
    planned: float
    """Share of the run after which it was due [1]."""
    progress: float
    """Share of the results that were there when it hit [1]."""
    second: float
    """When it hit [s]."""
    hit: Hit
    tries: int


def schedule(kinds: list[str], count: int, rng: random.Random) -> list[tuple[float, str]]:
    """Return when which kind is due: about as many of each, in random order, one in each equal part of the run."""
    drawn = [kinds[number % len(kinds)] for number in range(count)]
    rng.shuffle(drawn)
    return [(SPREAD * (number + rng.random()) / count, kind) for number, kind in enumerate(drawn)]


def disturb(machine: Machine, faults: Faults, plan: list[tuple[float, str]]) -> tuple[list[Fault], list[str]]:
    """Run the command under faults to its end; return those that hit, and the tries and stops that went wrong."""
    begun, hits, misses = time.monotonic(), [], []
    machine.start()
    for number, (due, kind) in enumerate(plan):
        for attempt in range(1, TRIES + 1):
            if not await_progress(machine, due, misses):
                misses.append(f"the run ended before fault {number}: {kind}")
                return hits, misses
            progress = machine.progress()
            try:
                hit = faults.inject(kind)
            except Missed as miss:
                misses.append(f"{number} {kind}: {miss}")
                continue
            hits.append(Fault(number, kind, due, progress, time.monotonic() - begun, hit, attempt))
            print(f"{hits[-1].second:6.0f} s {progress:5.0%}  {kind:18} {hit.variant:28} {hit.item} {hit.stage}")
            break
    await_progress(machine, 2.0, misses)
    return hits, misses


def await_progress(machine: Machine, due: float, misses: list[str]) -> bool:
    """Wait until a share of the results is there; run the command again if it stopped. False once the run is done."""
    last, since = machine.progress(), time.monotonic()
    while (now := machine.progress()) < due:
        machine.in_flight()  # remembers at which items this driver worked
        if not machine.driver.running:
            code = machine.driver.wait(0)
            if code in (0, 1):
                return False
            misses.append(f"the driver left with {code} without a fault to blame")
            if len(misses) > 5 * TRIES:
                raise SystemExit(f"the run stops again and again; see {machine.driver.log}")
            machine.start()
        if now > last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > STALLED_SECONDS:
            raise SystemExit(f"no new result for {STALLED_SECONDS:g} s; see {machine.driver.log}")
        time.sleep(0.2)
    return machine.driver.running or machine.driver.wait(0) not in (0, 1)


def report(hits: list[Fault], misses: list[str], found: Comparison, restarts: int) -> None:
    """Print what was done and what came of it."""
    print(f"\n{'fault':20} {'hit':>4} {'tried in vain':>14}   stages hit")
    for kind in dict.fromkeys(fault.kind for fault in hits):
        of_kind = [fault for fault in hits if fault.kind == kind]
        stages = Counter(fault.hit.stage for fault in of_kind)
        vain = sum(fault.tries - 1 for fault in of_kind)
        print(f"{kind:20} {len(of_kind):4d} {vain:14d}   {', '.join(f'{n} {stage}' for stage, n in stages.items())}")
    for miss in misses:
        print(f"  missed: {miss}")
    print(
        f"\n{len(hits)} faults, command run {restarts} times; {found.objects} objects, {found.files} files: "
        f"{found.lost} lost, {found.doubled} doubled, {found.changed} changed; {found.recomputed} results computed "
        "again because their files were damaged"
    )
    for what in found.twice:
        print(f"  computed twice: {what}")
    for path in found.stray:
        print(f"  should not be there: {path}")


def main() -> int:
    """Run twice, compare, write chaos.json; exit code 1 if anything is lost, doubled or changed, or a fault missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/chaos.yaml"))
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the moments, the order and the damages")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as for scenegen run")
    parser.add_argument("--deadline", type=float, default=15.0, help="of a stage call [s]; what hangs is killed then")
    parser.add_argument("--reference", type=Path, help="output folder of the undisturbed run; taken up if it is there")
    parser.add_argument("--out", type=Path, default=Path("out/chaos"), help="folder of chaos.json and driver.log")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="scenegen_chaos_"))
    command = [sys.executable, "-m", "scenegen", "run", str(arguments.config)]
    for override in arguments.set:
        command += ["--set", override]
    # Not of the scene: it is not aimed at, and takes longer than any call that is.
    aimed = (stage for stage in STAGES if stage != SCENE)
    limits = [f"executor.stages.{stage}.deadline_s={arguments.deadline:g}" for stage in aimed]
    rng = random.Random(arguments.seed)

    begun = time.monotonic()
    reference = arguments.reference or root / "serial"
    serial = subprocess.run([*command, "--out", str(reference), "--executor", "serial"], check=False).returncode
    serial_seconds = time.monotonic() - begun
    disk = Disk(root / "disk")
    nodes = Nodes(NODES)
    try:
        (log := arguments.out / "driver.log").unlink(missing_ok=True)
        out = disk.path / "out"
        run = [*command, "--out", str(out), "--address", nodes.address, "--workers", str(NODES)]
        driver = Driver([*run, *(word for limit in limits for word in ("--set", limit))], log)
        machine = Machine(nodes, disk, driver, out, read_calls(reference))
        faults = Faults(machine, rng, deadline_s=arguments.deadline)
        hits, misses = disturb(machine, faults, schedule(list(faults.kinds), arguments.faults, rng))
        code = driver.wait(0) if not driver.running else driver.wait(STALLED_SECONDS)
        found = compare(reference, out, arguments.config, arguments.set, faults.damaged)
    finally:
        nodes.close()
        disk.close()
        shutil.rmtree(root, ignore_errors=True)
    report(hits, misses, found, driver.starts)
    least = min(arguments.faults // len(faults.kinds), EACH)
    enough = len(hits) == arguments.faults and min(faults.count.values()) >= least
    stopped = [miss for miss in misses if miss.startswith("the driver left")]
    passed = enough and found.clean and code == serial and not stopped
    content = {
        "command": [Path(word).name for word in sys.argv],
        "passed": passed,
        "faults": [asdict(fault) for fault in hits],
        "missed": misses,
        "comparison": asdict(found),
        "exit_codes": {"undisturbed": serial, "disturbed": code},
        "starts": driver.starts,
        "seconds": {"undisturbed": serial_seconds, "disturbed": time.monotonic() - begun - serial_seconds},
    }
    (arguments.out / "chaos.json").write_text(json.dumps(content, indent=1) + "\n")
    print(f"wrote {arguments.out / 'chaos.json'}; {'passed' if passed else 'FAILED'}")
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
