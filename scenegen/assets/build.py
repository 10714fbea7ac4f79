"""The spine: from a request to a certified asset or a rejection with its reason. Start reading here.

    request -> blueprint -> surface -> hulls -> drops in two engines -> agreement -> certificate

Each step is a pure function from a `Draft` to a longer `Draft`, or to a `Rejection`. The executors run the same
functions as stages, one by one, in isolated processes; `build_asset` runs them in a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from generators.blueprint import Blueprint, BodyBlueprint, PartBlueprint
from generators.errors import VolumeError
from generators.surface import extract_surface, field_normals
from physics.agreement import check_agreement
from physics.check import Check, Verdict
from physics.drop import run_drops
from physics.drop_mujoco import open_mujoco
from physics.drop_pybullet import open_pybullet
from physics.drop_record import DropConfig, DropRecord
from physics.engine import Placement, World
from physics.errors import HullError, MassError, MeshError
from physics.floors import EngineFloors, OpenEngine
from physics.hulls import HullConfig, decompose_body
from physics.mass import combine_masses, integrate_mesh
from physics.mass_checks import MassCheckConfig, check_mass, check_readback
from physics.materials import Material, find_material, sized_friction
from physics.mesh import Mesh
from physics.model import Body, Joint, JointKind, Model, Part
from physics.part_fit import check_part_fit
from physics.pose import Pose
from physics.pose_distribution import check_distribution
from physics.simplify import simplify_mesh
from physics.subject import Subject
from physics.validity import ValidityConfig, check_validity
from scenegen.assets.asset import Asset, Origin, make_asset
from scenegen.assets.certificate import Certificate, certify
from scenegen.assets.draw import DrawConfig, Mate, draw_object
from scenegen.pipeline.stage import Rejection
from scenegen.provenance import item_rng


@dataclass(frozen=True)
class AssetRequest:
    """One object to be made."""

    item_id: str
    """Stable name of the item in its run."""
    seed: int
    """Seed of the run; every draw comes from (seed, item_id, purpose)."""
    family: str
    """Name of the object family."""
    parameters: dict[str, float] = field(default_factory=dict)
    """Family parameters that are given instead of drawn [m] or [1]."""
    batch: tuple[Mate, ...] = ()
    """Objects that are sampled together with this one, itself among them; empty for it alone."""


RESTLESS = ("D3", "D6", "D14")
"""Checks that hulls fail on which a body cannot lie still.

MuJoCo 4.0 takes at most four contacts of a hull with the ground, and fewer where a face of many corners touches with an
edge: seen, one of two or four, another one each step. A body that rests on one large hull then rocks about it for ever;
cut into several hulls it has contacts on each."""


@dataclass(frozen=True)
class SurfaceConfig:
    """How a volume becomes a surface that is judged."""

    simplify_tolerance_voxels: float = 0.1
    """Largest shift of the surface when triangles are merged [voxels]; a quarter is the recommended ceiling."""
    validity: ValidityConfig = field(default_factory=ValidityConfig)
    mass: MassCheckConfig = field(default_factory=MassCheckConfig)


@dataclass(frozen=True)
class BatteryConfig:
    """The drop tests, and what perfect solids show in each engine under the same settings."""

    ground: str
    """Material of the ground."""
    drop: DropConfig
    floors: tuple[EngineFloors, ...]
    """One entry an engine, measured on reference solids."""
    mass: MassCheckConfig = field(default_factory=MassCheckConfig)
    pose_drops: int = 0
    """Drops in MuJoCo for the distribution of rest poses (D13); 0 leaves it out [1]."""
    other_hulls: HullConfig | None = None
    """How a body is decomposed again when MuJoCo does not let it rest on its hulls; None leaves it at the first."""

    def floors_of(self, engine: str) -> EngineFloors:
        """Return the floors of one engine."""
        return next(floors for floors in self.floors if floors.engine == engine)


@dataclass(frozen=True)
class BuildConfig:
    """Everything `build_asset` needs to know."""

    draw: DrawConfig
    surface: SurfaceConfig
    hulls: HullConfig
    battery: BatteryConfig


@dataclass(frozen=True, eq=False)
class Draft:
    """An asset in the making: what is known so far, and the evidence."""

    request: AssetRequest
    blueprint: Blueprint | None
    """None for an object that was not drawn here."""
    model: Model | None = None
    checks: tuple[Check, ...] = ()
    drops: tuple[DropRecord, ...] = ()
    fallbacks: tuple[str, ...] = ()
    """Degraded steps; a certificate with any is not a PASS."""
    notes: tuple[str, ...] = ()
    """Steps that took another way to the same limits, such as finer hulls after coarse ones failed."""
    symmetry_axis: tuple[float, float, float] | None = None
    """Declared axis of revolution of an object that was not drawn here; a blueprint says it of its own."""
    origin: Origin | None = None
    """The file of an object that was not drawn here."""
    whole: bool = False
    """Whether a failed check leaves the others to be made, so that all are seen; else it rejects the draft."""

    @property
    def volumes(self) -> Blueprint:
        """The blueprint, known to be there for what was drawn here."""
        if self.blueprint is None:
            raise ValueError(f"{self.request.item_id} was not drawn here, so it has no volumes")
        return self.blueprint

    @property
    def solid(self) -> Model:
        """The model, known to be there after `extract_solid`."""
        if self.model is None:
            raise ValueError(f"{self.request.item_id} has no surface yet: run extract_solid first")
        return self.model


@dataclass(frozen=True, eq=False)
class CertifiedAsset:
    """An asset and the evidence for it."""

    asset: Asset
    certificate: Certificate
    simulated_seconds: float
    """Simulated time of the drops in all engines [s]."""


def build_asset(request: AssetRequest, config: BuildConfig) -> CertifiedAsset | Rejection:
    """Make one asset from its request, or say why it cannot be certified."""
    draft = draw_blueprint(request, config.draw)
    return draft if isinstance(draft, Rejection) else finish_asset(draft, config)


def finish_asset(draft: Draft, config: BuildConfig) -> CertifiedAsset | Rejection:
    """Make an asset from its blueprint, or say why it cannot be certified."""
    steps: tuple[Callable[[Draft], Draft | Rejection], ...] = (
        partial(extract_solid, config=config.surface),
        partial(decompose_solid, config=config.hulls),
        partial(drop_in_mujoco, config=config.battery),
        partial(drop_in_pybullet, config=config.battery),
        partial(compare_engines, config=config.battery),
    )
    grown: Draft | Rejection = draft
    for step in steps:
        grown = step(grown)
        if isinstance(grown, Rejection):
            return grown
    return certify_draft(grown, config.battery)


def draw_blueprint(request: AssetRequest, config: DrawConfig) -> Draft | Rejection:
    """Draw the object as volumes."""
    drawn = draw_object(
        config.generator,
        family=request.family,
        seed=request.seed,
        item_id=request.item_id,
        parameters=request.parameters,
        batch=request.batch,
    )
    if isinstance(drawn, Rejection):
        return drawn
    blueprint, notes = drawn
    return Draft(replace(request, batch=()), blueprint, notes=notes)


def extract_solid(draft: Draft, config: SurfaceConfig) -> Draft | Rejection:
    """Read the surfaces off the volumes; check geometry (G1 to G8) and mass (I1 to I4)."""
    draft = _record_limits(draft, "validity", config.validity, ValidityConfig())
    draft = _record_limits(draft, "mass", config.mass, MassCheckConfig())
    notes: list[str] = []
    try:
        bodies = tuple(solid_body(body, config, notes) for body in draft.volumes.bodies)
    except (VolumeError, MeshError, MassError) as error:
        return Rejection("surface", "the volume bounds no solid", np.nan, None, "", str(error))
    joints = tuple(
        Joint(
            j.name,
            JointKind(j.kind),
            j.parent,
            j.child,
            Pose.translation(*j.position),
            np.array(j.axis),
            j.lower,
            j.upper,
        )
        for j in draft.volumes.joints
    )
    checks = [
        check
        for body, plan in zip(bodies, draft.volumes.bodies, strict=True)
        for part, part_plan in zip(body.parts, plan.parts, strict=True)
        for check in check_validity(
            part.surface,
            body=_place(body, part),
            config=config.validity,
            declared_components=part_plan.components,
            declared_genus=part_plan.genus,
        )
    ]
    checks += [check for body in bodies for check in check_part_fit(body)]
    checks += [check for body in bodies for check in check_mass(body, config=config.mass)]
    model = Model(draft.volumes.family, bodies, joints)
    return extend(draft, "surface", checks, model=model, notes=draft.notes + tuple(notes))


def decompose_solid(draft: Draft, config: HullConfig) -> Draft | Rejection:
    """Cover every body with convex hulls of known error (H1 to H7)."""
    draft = _record_limits(draft, "hulls.limits", config.limits, type(config.limits)())
    bodies: list[Body] = []
    checks: list[Check] = []
    notes: list[str] = []
    for body in draft.solid.bodies:
        # The hulls of the last rung are measured like those of the first: escalation is no degraded step.
        try:
            covered, body_checks, escalations = decompose_body(body, config=config)
        except HullError as error:
            return Rejection("hulls", "no hulls", np.nan, None, "", str(error))
        bodies.append(covered)
        checks += body_checks
        notes += escalations
    model = replace(draft.solid, bodies=tuple(bodies))
    return extend(draft, "hulls", checks, model=model, notes=draft.notes + tuple(notes))


def drop_in_mujoco(draft: Draft, config: BatteryConfig) -> Draft | Rejection:
    """Run the battery of drops in MuJoCo, once more on other hulls where it is the hulls that do not let it rest."""
    dropped = _drop(draft, config, "mujoco", open_mujoco)
    if isinstance(dropped, Rejection) and config.other_hulls is not None and dropped.reason.startswith(RESTLESS):
        other = _with_other_hulls(draft, config.other_hulls, f"{dropped.reason}: {dropped.value:.3g}")
        again = dropped if other is None else _drop(other, config, "mujoco", open_mujoco)
        draft, dropped = (draft, dropped) if other is None or isinstance(again, Rejection) else (other, again)
    if isinstance(dropped, Rejection) or not config.pose_drops or not dropped.drops[-1].drops:
        return dropped
    spread = check_distribution(
        Subject(draft.solid, config.drop, _symmetry_axis(draft)),
        open_mujoco,
        engine="mujoco",
        ground=ground_under(draft.solid, config.ground),
        drops=config.pose_drops,
        rng=item_rng(draft.request.seed, draft.request.item_id, "poses"),
    )
    return replace(dropped, checks=(*dropped.checks, spread))


def _with_other_hulls(draft: Draft, config: HullConfig, why: str) -> Draft | None:
    """Return the draft with hulls that were made otherwise and measured; None where they are the same, or fail."""
    bare = replace(draft, checks=tuple(check for check in draft.checks if not check.id.startswith("H")))
    other = decompose_solid(bare, config)
    if isinstance(other, Rejection) or _hull_digests(other) == _hull_digests(draft):
        return None
    return replace(other, notes=(*other.notes, f"other hulls, on the first of which MuJoCo shows {why}"))


def _hull_digests(draft: Draft) -> list[str]:
    return [hull.mesh.digest for body in draft.solid.bodies for hull in body.hulls]


def drop_in_pybullet(draft: Draft, config: BatteryConfig) -> Draft | Rejection:
    """Run the battery of drops in PyBullet."""
    return _drop(draft, config, "pybullet", open_pybullet)


def compare_engines(draft: Draft, config: BatteryConfig) -> Draft | Rejection:
    """Start each engine at the other's rest poses; both must agree on the equilibria (D12)."""
    first, second = draft.drops
    checks = check_agreement(
        draft.solid,
        first,
        second,
        open_mujoco,
        open_pybullet,
        ground=ground_under(draft.solid, config.ground),
        floors=config.floors,
        config=config.drop,
        symmetry_axis=_symmetry_axis(draft),
    )
    return extend(draft, "agreement", checks)


def certify_draft(draft: Draft, config: BatteryConfig) -> CertifiedAsset | Rejection:
    """Turn a draft that survived every stage into an asset and its certificate."""
    asset = make_asset(draft)
    certificate = certify(asset, draft, floors=config.floors)
    if certificate.verdict in (Verdict.FAIL, Verdict.UNDECIDED):
        missing = ", ".join(certificate.missing)
        return Rejection("certify", f"verdict {certificate.verdict}", np.nan, None, "", f"evidence missing: {missing}")
    return CertifiedAsset(asset, certificate, sum(record.simulated_seconds for record in draft.drops))


def solid_body(plan: BodyBlueprint, config: SurfaceConfig, notes: list[str]) -> Body:
    """Return a body with its surfaces and mass, unchecked; adds to the notes where a surface was left as it was.

    Raises:
        VolumeError, MeshError or MassError: a volume bounds no solid.
    """
    parts = tuple(
        Part(part.name, _surface_of(part, config, notes), find_material(part.material)) for part in plan.parts
    )
    masses = [integrate_mesh(part.surface, density=part.material.density) for part in parts]
    return Body(plan.name, parts, mass_properties=combine_masses(masses))


def _surface_of(plan: PartBlueprint, config: SurfaceConfig, notes: list[str]) -> Mesh:
    result = simplify_mesh(
        extract_surface(plan.volume), tolerance=config.simplify_tolerance_voxels * plan.volume.voxel_size
    )
    if result.fallback:
        notes.append(f"{plan.name}: {result.fallback}")
    return Mesh(result.mesh.vertices, result.mesh.faces, field_normals(plan.volume, result.mesh.vertices))


def _drop(draft: Draft, config: BatteryConfig, name: str, open_engine: OpenEngine) -> Draft | Rejection:
    """Read the inertials back from one engine (I5) and run its battery of drops."""
    draft = _record_limits(draft, "drop", config.drop, DropConfig())
    ground = ground_under(draft.solid, config.ground)
    record = run_drops(
        draft.solid,
        open_engine,
        ground=ground,
        floors=config.floors_of(name),
        config=config.drop,
        rng=item_rng(draft.request.seed, draft.request.item_id, "drop"),
        symmetry_axis=_symmetry_axis(draft),
    )
    checks, cannot = list(record.checks), ()
    if record.drops:  # else the engine refused the model, which D14 says
        engine = open_engine(World((Placement("asset", draft.solid, Pose.identity()),), ground))
        try:
            held = engine.inertials()["asset"]
            cannot = tuple(f"{name}: {text}" for text in getattr(engine, "limits", ()))
        finally:
            engine.close()
        checks = [*check_readback(draft.solid.root, held, engine=name, config=config.mass), *checks]
    return extend(draft, f"drop_{name}", checks, drops=(*draft.drops, record), notes=(*draft.notes, *cannot))


def ground_under(model: Model, name: str) -> Material:
    """Return a material as ground, with friction lengths that fit what is dropped on it."""
    size = max(float(np.ptp(part.surface.vertices, axis=0).max()) for part in model.root.parts)
    return sized_friction(find_material(name), size)


def _record_limits(draft: Draft, name: str, given: object, published: object) -> Draft:
    """Record every setting that is not the published one: such a certificate is never more than a WARN."""
    changed = tuple(
        f"{name}.{key} is {value!r}, published is {getattr(published, key)!r}"
        for key, value in vars(given).items()
        if value != getattr(published, key)
    )
    return replace(draft, fallbacks=draft.fallbacks + tuple(text for text in changed if text not in draft.fallbacks))


def _symmetry_axis(draft: Draft) -> np.ndarray | None:
    axis = draft.symmetry_axis if draft.blueprint is None else draft.blueprint.bodies[0].symmetry_axis
    return None if axis is None else np.array(axis)


def _place(body: Body, part: Part) -> str:
    return body.name if len(body.parts) == 1 else f"{body.name}/{part.name}"


def extend(draft: Draft, stage: str, checks: Sequence[Check], **changes: object) -> Draft | Rejection:
    """Return the draft with more evidence, or the rejection that the first failed check demands."""
    for check in () if draft.whole else checks:
        if check.verdict in (Verdict.FAIL, Verdict.UNDECIDED):
            return Rejection(
                stage=stage,
                reason=f"{check.id} {check.name}",
                value=check.value,
                limit=check.limit,
                unit=check.unit,
                message=check.describe(),
            )
    return replace(draft, checks=draft.checks + tuple(checks), **changes)
