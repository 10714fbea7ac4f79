"""An asset: a model with its volumes, where it came from and how it rests, identified by a hash of its content."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from generators.volume import SparseVolume
from physics.drop_record import DropRecord
from physics.materials import Material
from physics.model import Body, Model
from physics.pose import Pose
from scenegen.errors import AssetError

if TYPE_CHECKING:
    from scenegen.assets.build import Draft

GENERATED_LICENCE = "CC0-1.0"
"""Licence of everything that our own generators draw (SPDX identifier)."""
UNKNOWN_LICENCE = "NOASSERTION"
"""What SPDX says of a licence that nobody has stated: that of imported assets."""

NAME_PATTERN = re.compile(r"[a-z][a-z0-9_]*")
"""What names of bodies, parts and joints look like, so that every format and every file system takes them."""

ID_LENGTH = 32
"""Hexadecimal digits of an asset's identifier: 128 bits of SHA-256 [1]."""


@dataclass(frozen=True)
class Origin:
    """The file that an imported asset was read from, and what was altered in it."""

    file: str
    """Name of the file, without folders."""
    sha256: str
    """SHA-256 of the file."""
    units: str
    """Unit of its lengths, as it was given for it."""
    altered: tuple[str, ...] = ()
    """What was altered before it was judged; with any, its certificate is not a PASS."""


@dataclass(frozen=True)
class Provenance:
    """Where an asset comes from: enough to make it again."""

    generator: str
    """Name of the generator."""
    seed: int
    """Seed of the run."""
    item_id: str
    """Name of the item in its run."""
    parameters: dict[str, float] = field(default_factory=dict)
    """Family parameters as drawn [m] or [1]."""
    config_digest: str = ""
    """SHA-256 of the configuration; empty outside a run."""
    origin: Origin | None = None
    """The file of an imported asset; None for what was drawn."""


@dataclass(frozen=True, eq=False)
class RestPose:
    """A pose in which the asset was seen to rest on the ground z = 0, free of the engine's rest depth."""

    X_WB: Pose
    """Pose of the root body; its lowest collision vertex lies at z = 0."""
    probability: float
    """Quasi-static probability of ending here when thrown at random [1]."""
    upright: bool
    """True when z of the body points up."""
    engines: tuple[str, ...]
    """Engines in which a drop ended here; check D12 then held it in the others."""
    rolls: bool = False
    """True when the body may roll on about its declared axis of symmetry."""


@dataclass(frozen=True, eq=False)
class Asset:
    """A model that can be simulated, with its volumes and its history."""

    model: Model
    volumes: tuple[SparseVolume, ...]
    """Signed distance of every part, in the order of bodies and parts; empty for an imported mesh."""
    family: str
    """Category label, such as "mug"."""
    provenance: Provenance
    rest_poses: tuple[RestPose, ...] = ()
    """Verified rest poses, most probable first."""
    symmetry_axis: tuple[float, float, float] | None = None
    """Axis of full rotational symmetry of the root body in B, or None."""
    licence: str = GENERATED_LICENCE
    """SPDX identifier."""

    def __post_init__(self) -> None:
        for name in (self.family, *_names(self.model)):
            check_name(name)
        parts = sum(len(body.parts) for body in self.model.bodies)
        if self.volumes and len(self.volumes) != parts:
            raise AssetError(f"asset {self.family!r} has {parts} parts and {len(self.volumes)} volumes")
        for body in self.model.bodies:
            if not body.hulls or body.mass_properties is None:
                raise AssetError(
                    f"asset {self.family!r}: body {body.name!r} has {len(body.hulls)} hulls and mass properties "
                    f"{body.mass_properties}; both must be there: run the hull and mass stages first"
                )

    @cached_property
    def asset_id(self) -> str:
        """Hash of geometry (surfaces and hulls), joints, mass properties and materials; nothing else."""
        return content_id(self.model)


def check_name(name: str) -> str:
    """Return a name that every format takes.

    Raises:
        AssetError: The name is not `[a-z][a-z0-9_]*` (a path separator could lead out of the folder).
    """
    if not NAME_PATTERN.fullmatch(name):
        raise AssetError(f"{name!r} is no name: expected a lower-case letter, then letters, digits and '_'")
    return name


def content_id(model: Model) -> str:
    """Return the identifier of a model: equal for equal geometry, mass properties, materials and joints."""
    sha = hashlib.sha256(b"scenegen asset 1\0")
    for body in model.bodies:
        sha.update(f"body {body.name}\0".encode())
        for part in body.parts:
            sha.update(f"part {part.name} {part.surface.digest} {_material_line(part.material)}\0".encode())
        for hull in body.hulls:
            sha.update(f"hull {hull.part} {hull.mesh.digest}\0".encode())
        inertial = body.inertial
        _update(sha, [inertial.mass], inertial.com, inertial.inertia)
    for joint in model.joints:
        sha.update(f"joint {joint.name} {joint.kind.value} {joint.parent} {joint.child}\0".encode())
        _update(sha, joint.X_PC.position, joint.X_PC.quaternion, joint.axis, [joint.lower, joint.upper])
    return sha.hexdigest()[:ID_LENGTH]


def settle_on_plane(body: Body, X_WB: Pose) -> Pose:
    """Return the pose with the same orientation and x, y whose lowest collision vertex lies at z = 0."""
    lowest = min(float(X_WB.apply(hull.mesh.vertices)[:, 2].min()) for hull in body.hulls)
    return Pose(X_WB.position - np.array([0.0, 0.0, lowest]), X_WB.quaternion)


def collect_rest_poses(body: Body, records: Sequence[DropRecord]) -> tuple[RestPose, ...]:
    """Return the distinct rest poses of a body over all engines, most probable first."""
    engines: dict[int, list[str]] = {}
    for record in records:
        for pose in record.rest_poses:
            if not pose.balanced:
                engines.setdefault(pose.stable_index, []).append(record.engine)
    # A pose that rolls on in one engine is no resting place, whatever the other says.
    rolling = {pose.stable_index for record in records for pose in record.rest_poses if pose.settled_only}
    found: dict[int, RestPose] = {}
    for record in records:
        for pose in record.rest_poses:
            # Nothing is placed where a body is about to tip and one engine alone says that it does not.
            alone = len(set(engines.get(pose.stable_index, ()))) < len(records)
            if pose.balanced or (pose.precarious and alone):
                continue
            found.setdefault(
                pose.stable_index,
                RestPose(
                    settle_on_plane(body, pose.X_WB),
                    pose.probability,
                    pose.upright,
                    tuple(sorted(set(engines[pose.stable_index]))),
                    pose.stable_index in rolling,
                ),
            )
    order = sorted(found, key=lambda index: (-found[index].probability, index))
    return tuple(found[index] for index in order)


def make_asset(draft: Draft, *, config_digest: str = "", licence: str = GENERATED_LICENCE) -> Asset:
    """Return the asset that a finished draft describes."""
    blueprint = draft.volumes
    return Asset(
        model=draft.solid,
        volumes=tuple(part.volume for body in blueprint.bodies for part in body.parts),
        family=blueprint.family,
        provenance=Provenance(
            generator=blueprint.generator,
            seed=draft.request.seed,
            item_id=draft.request.item_id,
            parameters=dict(blueprint.parameters),
            config_digest=config_digest,
        ),
        rest_poses=collect_rest_poses(draft.solid.root, draft.drops),
        symmetry_axis=blueprint.bodies[0].symmetry_axis,
        licence=licence,
    )


def _names(model: Model) -> list[str]:
    names = [model.name]
    for body in model.bodies:
        names += [body.name, *(part.name for part in body.parts)]
        names += [part.material.name for part in body.parts]
    return names + [joint.name for joint in model.joints]


def _material_line(material: Material) -> str:
    friction = (material.sliding_friction, material.torsional_friction, material.rolling_friction)
    looks = (*material.base_color, material.metallic, material.roughness)
    numbers = (material.density, *friction, material.restitution, *looks)
    return " ".join([material.name, *(float(number).hex() for number in numbers)])


def _update(sha: hashlib._Hash, *arrays: object) -> None:
    for array in arrays:
        # Adding 0.0 turns -0.0 into 0.0: the same number must give the same identifier.
        sha.update((np.asarray(array, dtype="<f8") + 0.0).tobytes())
