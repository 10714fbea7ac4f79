"""`scenegen selftest`: the verifier is given bodies whose verdict is known, and its answers are counted.

Sound solids have to end PASS or WARN with the volume, centre of mass and inertia of their closed forms; mutants have to
be refused by the check that names their defect. What a mutant passes is a false PASS, the worst that can happen here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from physics import truth
from physics.drop_record import DropConfig
from physics.hulls import HullConfig
from physics.mutants import DENSITY, MUTANTS, Specimen, sound
from scenegen.assets.build import AssetRequest, BatteryConfig, Draft, SurfaceConfig
from scenegen.assets.certificate import Certificate
from scenegen.pipeline.observer import Observer
from scenegen.pipeline.stage import Finished, Item, Outcome, Rejected, Rejection, Stage
from scenegen.pipeline.store import Store
from scenegen.provenance import code_digest
from scenegen.run import STORE, Execute, measure_all_floors
from scenegen.verification import chain
from scenegen.verification.declared import DeclaredBody
from scenegen.verification.request import VerifyOptions

SIZES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1.0)
"""Largest extents of the specimens [m]."""
GROUND = "oak"
"""Material of the ground."""
MATERIAL = "beech"
"""Friction of the specimens."""

SOUND = {
    "cube": lambda: truth.box((0.1, 0.1, 0.1)),
    "cuboid": truth.box,
    "tall block": lambda: truth.box((0.04, 0.04, 0.1)),
    "plate": lambda: truth.box((0.1, 0.1, 0.01)),
    "L-bar": truth.l_bar,
    "cylinder": truth.cylinder,
    "cone": truth.cone,
    "sphere": truth.sphere,
    "hemisphere": lambda: truth.hemisphere(segments=96),
    "torus": truth.torus,
}
"""Solids that must pass, at their own size."""
CONVEX_CORNERS = 64
"""A convex solid of no more vertices is its own hull; the hulls of others are made [1]."""


@dataclass(frozen=True)
class SpecimenRequest:
    """One specimen."""

    item_id: str
    case: str
    size: float
    """Largest extent of the solid, before it is spoiled [m]."""
    seed: int


@dataclass(frozen=True)
class Answer:
    """What the verifier said of one specimen."""

    request: SpecimenRequest
    verdict: str
    """PASS, WARN, UNDECIDED or FAIL; `broken` where a stage crashed."""
    reason: str
    """Check that refused it."""
    right: bool

    @property
    def mutant(self) -> bool:
        """Whether it had to fail."""
        return self.request.case not in SOUND


def run_selftest(
    out: Path, execute: Execute, observer: Observer, *, sizes: Sequence[float] = SIZES, seeds: int = 1
) -> list[Answer]:
    """Judge every sound solid and every mutant at every size.

    Args:
        out: Output folder, for the results of the steps; the same call again takes up what is left.
        execute: Executor of the steps.
        observer: Is told what happens.
        sizes: Largest extents [m].
        seeds: Draws of the random orientations of sound solids [1].

    Raises:
        ScenegenError: the output folder cannot be written, or an engine is broken.
    """
    store = Store(out / STORE)
    floors = measure_all_floors(DropConfig(), store, execute, observer)
    battery = BatteryConfig(ground=GROUND, drop=DropConfig(), floors=floors)
    cases = [(name, size, seed) for name in SOUND for size in sizes for seed in range(seeds)]
    cases += [(mutant.name, size, 0) for mutant in MUTANTS for size in sizes]
    requests = [SpecimenRequest(f"case_{number:05d}", *case) for number, case in enumerate(cases)]
    items = [Item(request.item_id, request) for request in requests]
    outcomes = execute(selftest_stages(battery), items, store, observer=observer)
    return [answer_of(request, outcomes) for request in requests]


def selftest_stages(battery: BatteryConfig) -> tuple[Stage, ...]:
    """Return the steps of a verification, with the specimens in place of files."""
    steps = (
        ("specimen", make_specimen, SpecimenRequest, Draft, SurfaceConfig()),
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


def make_specimen(request: SpecimenRequest, config: SurfaceConfig) -> Draft | Rejection:
    """Stage: make a specimen and judge its geometry and mass; a sound one also against its closed forms."""
    name = request.case.replace(" ", "_").lower()
    body = "".join(letter for letter in name if letter.isalnum() or letter == "_")
    draft = Draft(AssetRequest(request.item_id, request.seed, body), None)
    solid = None
    if request.case in SOUND:
        solid = SOUND[request.case]().sized(request.size)
        specimen = _sound_specimen(solid)
        draft = replace(draft, symmetry_axis=solid.symmetry_axis)
    else:
        specimen = next(mutant for mutant in MUTANTS if mutant.name == request.case).make(request.size)
    link = DeclaredBody(body, ((specimen.surface,),), specimen.hulls, specimen.mass)
    options = VerifyOptions(units="m", material=MATERIAL)
    return chain.judge_solid(draft, (specimen.surface,), link, options, config, [])


def _sound_specimen(solid: truth.Solid) -> Specimen:
    """Return the truth about a solid; of one whose closed forms are those of a smooth body, that of its mesh."""
    from physics.mass import integrate_mesh

    convex = solid.genus == 0 and solid.name != "l_bar" and len(solid.mesh.vertices) <= CONVEX_CORNERS
    specimen = sound(solid, hulls=(solid.mesh,) if convex else ())
    return specimen if solid.exact else replace(specimen, mass=integrate_mesh(solid.mesh, density=DENSITY))


def answer_of(request: SpecimenRequest, outcomes: Mapping[str, Outcome]) -> Answer:
    """Return what was said of a specimen, and whether it is right."""
    outcome = outcomes[request.item_id]
    if isinstance(outcome, Finished):
        verdict = outcome.record.verdict.value
        accepted = verdict in ("PASS", "WARN")
        return Answer(request, verdict, "", accepted and request.case in SOUND)
    if isinstance(outcome, Rejected):
        reason = outcome.rejection.reason
        undecided = outcome.rejection.message.startswith("UNDECIDED")
        expected = next((mutant.checks for mutant in MUTANTS if mutant.name == request.case), ())
        return Answer(request, "UNDECIDED" if undecided else "FAIL", reason, reason.partition(" ")[0] in expected)
    return Answer(request, "broken", f"stage {outcome.stage}", False)


@dataclass(frozen=True)
class Confusion:
    """How often the verifier was right, and how it was wrong."""

    sound_accepted: int
    sound_refused: int
    """False fails."""
    sound_undecided: int
    mutants_refused: int
    mutants_misnamed: int
    """Refused, by a check that does not name the defect."""
    mutants_accepted: int
    """False passes."""
    broken: int


def confusion(answers: Sequence[Answer]) -> Confusion:
    """Count the answers."""
    counts: Counter[str] = Counter()
    for answer in answers:
        kind = "mutants" if answer.mutant else "sound"
        if answer.verdict == "broken":
            counts["broken"] += 1
        elif answer.verdict in ("PASS", "WARN"):
            counts[f"{kind}_accepted"] += 1
        elif answer.mutant:
            counts["mutants_refused" if answer.right else "mutants_misnamed"] += 1
        else:
            counts["sound_undecided" if answer.verdict == "UNDECIDED" else "sound_refused"] += 1
    return Confusion(**{name: counts[name] for name in Confusion.__dataclass_fields__})
