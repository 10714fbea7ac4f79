"""`scenegen verify`: files from anywhere, judged as they are, each with a verdict or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physics.check import SEVERITY, Check, Verdict
from physics.drop_record import DropConfig
from physics.hulls import HullConfig
from scenegen.assets.build import BatteryConfig, Draft, SurfaceConfig
from scenegen.assets.certificate import Certificate
from scenegen.pipeline.observer import Observer
from scenegen.pipeline.outcomes import keep_outcomes
from scenegen.pipeline.stage import Finished, Item, Outcome, Quarantined, Rejected, Stage
from scenegen.pipeline.store import Store
from scenegen.provenance import code_digest
from scenegen.run import STORE, Execute, measure_all_floors
from scenegen.verification import chain
from scenegen.verification.request import VerifyOptions, VerifyRequest, make_requests

GROUND = "oak"
"""Material of the ground in drop tests."""
UNREADABLE = "unreadable"
"""Verdict in reports of a file that could not be judged at all."""


@dataclass(frozen=True, eq=False)
class VerifiedFile:
    """One file and what was found."""

    path: Path
    certificate: Certificate | None
    """None where the file could not be judged."""
    reason: str = ""
    """Why it could not."""

    @property
    def verdict(self) -> str:
        """PASS, WARN, UNDECIDED or FAIL; a file that could not be judged counts as FAIL and says `unreadable`."""
        return UNREADABLE if self.certificate is None else self.certificate.verdict.value

    @property
    def accepted(self) -> bool:
        """Whether the verdict is PASS or WARN."""
        return self.verdict in (Verdict.PASS.value, Verdict.WARN.value)

    @property
    def findings(self) -> tuple[Check, ...]:
        """Checks that do not pass, the worst first."""
        checks = () if self.certificate is None else self.certificate.checks
        bad = [check for check in checks if check.verdict is not Verdict.PASS]
        return tuple(sorted(bad, key=lambda check: -SEVERITY.index(check.verdict)))


def verify_files(
    paths: Sequence[Path], out: Path, options: VerifyOptions, execute: Execute, observer: Observer
) -> list[VerifiedFile]:
    """Judge files; the same call again takes up what is left.

    Args:
        paths: Files, and folders in which all files of a known format are taken.
        out: Output folder, for the results of the steps.
        options: What the files do not say.
        execute: Executor of the steps.
        observer: Is told what happens.

    Raises:
        ConfigError: a path or an option that means nothing.
        ScenegenError: the output folder cannot be written, or an engine is broken.
    """
    requests = make_requests(paths, options)
    store = Store(out / STORE)
    floors = measure_all_floors(DropConfig(), store, execute, observer)
    battery = BatteryConfig(ground=GROUND, drop=DropConfig(), floors=floors)
    items = [Item(request.item_id, request) for request in requests]
    stages = verify_stages(battery)
    outcomes = execute(stages, items, store, observer=observer)
    keep_outcomes(store, stages, outcomes)
    return [_found(request, outcomes) for request in requests]


def verify_stages(battery: BatteryConfig) -> tuple[Stage, ...]:
    """Return the steps of `scenegen.verification.chain`, each as a stage."""
    steps: tuple[tuple[str, Any, type, type, Any], ...] = (
        ("read", chain.read_file, VerifyRequest, Draft, SurfaceConfig()),
        ("hulls", chain.cover, Draft, Draft, HullConfig()),
        ("drop_mujoco", chain.drop_in_mujoco, Draft, Draft, battery),
        ("drop_pybullet", chain.drop_in_pybullet, Draft, Draft, battery),
        ("agreement", chain.compare_engines, Draft, Draft, battery),
        ("judge", chain.judge, Draft, Certificate, battery),
    )
    return tuple(
        Stage(name, f"{step.__module__}:{step.__name__}", taken, given, config=config, version=code_digest())
        for name, step, taken, given, config in steps
    )


def _found(request: VerifyRequest, outcomes: Mapping[str, Outcome]) -> VerifiedFile:
    outcome, path = outcomes[request.item_id], Path(request.path)
    if isinstance(outcome, Finished):
        return VerifiedFile(path, outcome.record)
    if isinstance(outcome, Rejected):
        return VerifiedFile(path, None, outcome.rejection.message or outcome.rejection.reason)
    assert isinstance(outcome, Quarantined)
    return VerifiedFile(path, None, f"stage {outcome.stage} broke twice: {outcome.stderr.strip()[-400:]}")
