"""`scenegen selftest --assets RUN`: certified assets, each spoiled in every way, at 0.7, 1.5 and 10 times the limits.

The first dose of a defect has to pass every check, the others have to fail the check that names the defect. Geometry,
mass, hulls and what engines hold are judged, as `scenegen reverify` judges them; nothing is dropped.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from physics.check import Check, Verdict
from physics.engine import Placement, World
from physics.errors import PhysicsError
from physics.graded_mutants import DOSES, HARMLESS, KINDS, Kind
from physics.hulls import HullConfig
from physics.mass_checks import check_readback
from physics.materials import find_material
from physics.model import Body, Model
from physics.pose import Pose
from physics.spoil_surface import genus_of
from scenegen.assets.asset import Asset
from scenegen.assets.build import SurfaceConfig
from scenegen.assets.library import find_assets, open_asset
from scenegen.errors import ConfigError, ScenegenError
from scenegen.pipeline.observer import Observer
from scenegen.pipeline.stage import Finished, Item, Stage
from scenegen.pipeline.store import Store
from scenegen.provenance import code_digest
from scenegen.run import STORE, Execute
from scenegen.verification.reread import check_hulls, check_solid, hash_folder

ASSETS = 20
"""Assets that are spoiled, of as many families as there are [1]."""
GROUND = "oak"
DEADLINE = 3600.0
"""Longest that all kinds of one asset may take [s]."""
SOUND = "sound"
"""Name of the asset as it is."""


class Reply(StrEnum):
    """What an answer of the verifier is worth."""

    RIGHT = "right"
    FALSE_PASS = "false pass"
    FALSE_FAIL = "false fail"
    MISNAMED = "misnamed"
    """Refused, but not by the check that names the defect."""
    NONE = "no specimen"
    """The asset has no room for the defect at that dose."""


@dataclass(frozen=True)
class GradedRequest:
    """One asset to be spoiled."""

    item_id: str
    folder: str
    content: str
    """SHA-256 over its files."""


@dataclass(frozen=True)
class GradedAnswer:
    """What was said of one specimen."""

    kind: str
    dose: float
    reply: Reply
    value: float
    """What the named check measured; NaN where it was not made."""
    limit: float
    failed: tuple[str, ...]
    """Checks that failed."""
    warned: tuple[str, ...]


@dataclass(frozen=True)
class AssetAnswers:
    """All answers about one asset."""

    asset_id: str
    family: str
    size: float
    """L [m]."""
    answers: tuple[GradedAnswer, ...]


def run_graded_selftest(
    run: Path, out: Path, execute: Execute, observer: Observer, *, count: int = ASSETS
) -> list[AssetAnswers]:
    """Spoil certified assets of a run or a library in every way, and judge them; the same call again resumes.

    Args:
        run: Folder that holds certified assets; it is only read.
        out: Output folder.
        execute: Executor of the steps.
        observer: Is told what happens.
        count: Assets to take [1].

    Raises:
        ConfigError: The folder holds no certified asset.
        ScenegenError: The output folder cannot be written, or a specimen could not be judged.
    """
    chosen = choose_assets(run, count)
    items = [Item(folder.name, GradedRequest(folder.name, str(folder), hash_folder(folder))) for folder in chosen]
    stage = Stage(
        "spoil",
        f"{__name__}:spoil_asset",
        GradedRequest,
        AssetAnswers,
        config=SurfaceConfig(),
        version=code_digest(),
        deadline_s=DEADLINE,
    )
    outcomes = execute([stage], items, Store(out / STORE), observer=observer)
    broken = [str(outcome) for outcome in outcomes.values() if not isinstance(outcome, Finished)]
    if broken:
        raise ScenegenError(f"{len(broken)} of {len(items)} assets could not be judged; the first: {broken[0]}")
    return [outcome.record for outcome in outcomes.values() if isinstance(outcome, Finished)]


def choose_assets(run: Path, count: int) -> list[Path]:
    """Return folders of certified assets of one body: one of each family first, then others, in order of their names.

    Raises:
        ConfigError: There is none.
        AssetError: An asset is damaged or not certified.
    """
    opened = [(folder, open_asset(folder)[0]) for folder in find_assets(run)]
    seen: Counter[str] = Counter()
    ranked = []
    for folder, asset in opened:
        if len(asset.model.bodies) == 1 and asset.provenance.origin is None:
            ranked.append((seen[asset.family], folder.name, folder))
            seen[asset.family] += 1
    if not ranked:
        raise ConfigError(f"--assets {run}: holds no certified asset of one body that was drawn here")
    return [folder for _, _, folder in sorted(ranked)[:count]]


def spoil_asset(request: GradedRequest, config: SurfaceConfig) -> AssetAnswers:
    """Stage: judge one asset as it is, and spoiled in every way at every dose."""
    asset, _ = open_asset(Path(request.folder))
    judge = AssetJudge(asset, config)
    answers = [judge.answer_sound(), *(judge.answer(kind, dose) for kind in KINDS for dose in DOSES)]
    return AssetAnswers(asset.asset_id, asset.family, asset.model.root.size, tuple(answers))


class AssetJudge:
    """Judges specimens that are made from one asset; what was measured of equal geometry is not measured again."""

    def __init__(self, asset: Asset, config: SurfaceConfig):
        self.asset, self.config = asset, config
        self.body = asset.model.root
        # A certified asset has the handles that were declared of it.
        self._genus = {part.name: genus_of(part.surface) for part in self.body.parts}
        self._sound: tuple[Check, ...] = ()
        self._sound = self._solid(self.body)
        self._hulls: dict[tuple[str, ...], tuple[Check, ...]] = {}

    def answer_sound(self) -> GradedAnswer:
        """Return what is said of the asset as it is: it must pass."""
        failed, warned = _names(self._solid(self.body) + self._covered(self.body))
        return GradedAnswer(SOUND, 0.0, Reply.FALSE_FAIL if failed else Reply.RIGHT, math.nan, math.nan, failed, warned)

    def answer(self, kind: Kind, dose: float) -> GradedAnswer:
        """Return what is said of a specimen, and what that is worth."""
        spoiled = kind.make(self.body, dose)
        if spoiled is None:
            return GradedAnswer(kind.name, dose, Reply.NONE, math.nan, math.nan, (), ())
        declared = self.body if kind.engine else spoiled
        checks = self._solid(declared) + (self._held(spoiled, kind.engine) if kind.engine else ())
        named = [check for check in checks if kind.names(check)]
        # Where the named check has refused it already, hulls can add nothing.
        if dose < HARMLESS or not any(check.verdict is Verdict.FAIL for check in named):
            checks += self._covered(declared)
            named = [check for check in checks if kind.names(check)]
        worst = max(named, key=_excess, default=None)
        failed, warned = _names(checks)
        return GradedAnswer(
            kind.name,
            dose,
            reply_of(dose, bool(failed), any(check.verdict is Verdict.FAIL for check in named)),
            math.nan if worst is None else worst.value,
            math.nan if worst is None or worst.limit is None else worst.limit,
            failed,
            warned,
        )

    def _solid(self, body: Body) -> tuple[Check, ...]:
        """Return G1 to G8 and I1 to I4."""
        if body.parts is self.body.parts and body.mass_properties is self.body.mass_properties and self._sound:
            return self._sound
        return check_solid(body, self.config, genus={part.name: self._genus.get(part.name, 0) for part in body.parts})

    def _covered(self, body: Body) -> tuple[Check, ...]:
        """Return H1 to H7, or one that fails where there is no solid to measure hulls against."""
        key = (*(part.surface.digest for part in body.parts), "", *(hull.mesh.digest for hull in body.hulls))
        if key not in self._hulls:
            try:
                self._hulls[key] = check_hulls(body, HullConfig())
            except PhysicsError as fault:
                self._hulls[key] = (Check("H1", "hulls can be measured", math.nan, "1", 0, detail=str(fault)),)
        return self._hulls[key]

    def _held(self, spoiled: Body, engine: str) -> tuple[Check, ...]:
        from physics.drop_mujoco import open_mujoco
        from physics.drop_pybullet import open_pybullet

        model = Model(self.asset.model.name, (spoiled,))
        world = World((Placement("asset", model, Pose.identity()),), find_material(GROUND))
        opened = {"mujoco": open_mujoco, "pybullet": open_pybullet}[engine](world)
        try:
            held = opened.inertials()["asset"]
        finally:
            opened.close()
        return check_readback(self.body, held, engine=engine, config=self.config.mass)


def reply_of(dose: float, refused: bool, named: bool) -> Reply:
    """Return what an answer is worth: below its limit a defect must pass, above it must be refused by name."""
    if dose < HARMLESS:
        return Reply.FALSE_FAIL if refused else Reply.RIGHT
    return Reply.RIGHT if named else Reply.MISNAMED if refused else Reply.FALSE_PASS


def count_replies(assets: Sequence[AssetAnswers]) -> Mapping[tuple[str, float], Counter[Reply]]:
    """Return how often each reply was given, by kind and dose."""
    counts: dict[tuple[str, float], Counter[Reply]] = {}
    for asset in assets:
        for answer in asset.answers:
            counts.setdefault((answer.kind, answer.dose), Counter())[answer.reply] += 1
    return counts


def _names(checks: Sequence[Check]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    failed, warned = (
        tuple(dict.fromkeys(f"{check.id} {check.name}" for check in checks if check.verdict is verdict))
        for verdict in (Verdict.FAIL, Verdict.WARN)
    )
    return failed, warned


def _excess(check: Check) -> tuple[bool, float]:
    """Order checks by how far they are beyond their limits: a name may stand for a least and a largest value."""
    limit = 0.0 if check.limit is None else check.limit
    over, under = (check.value, limit) if check.sense == "<=" else (limit, check.value)
    ratio = over / under if under else over
    return check.verdict is Verdict.FAIL, ratio if math.isfinite(ratio) else -math.inf
