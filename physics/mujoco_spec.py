"""Worlds and models as MuJoCo specifications: explicit inertials, hull geoms, options of the verification."""

# The bindings of MuJoCo are compiled and carry no types.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from physics.engine import GRAVITY, GROUND, Placement, World
from physics.errors import EngineError
from physics.mass import MassProperties
from physics.materials import Material
from physics.mesh import Mesh
from physics.model import Body, Joint, JointKind, Part
from physics.pose import Pose

VISUAL_GROUP, COLLISION_GROUP = 2, 3
"""Geom groups, as in the MuJoCo Menagerie; viewers show the first and hide the second."""


@dataclass(frozen=True)
class MujocoConfig:
    """Settings for verdicts on objects and scenes; sources are chapters of the MuJoCo 4.0 manual."""

    timestep: float = 1e-3
    """Longest step [s]."""
    timestep_per_tau: float = 0.03
    """Longest step as a share of sqrt(L/g) of the smallest free body [1]; only bodies below 11 mm notice."""
    impratio: float = 10.0
    """Ratio of frictional to normal constraint impedance (Modeling: Preventing slip) [1]."""
    contact_time: float = 0.004
    """Time constant of the contact spring (Modeling: Contact parameters), at least two steps [s]."""
    contact_time_per_tau: float = 0.08
    """Longest time constant as a share of sqrt(L/g) of the body [1]; only bodies below 25 mm notice. Contacts that are
    soft for its size let a block of 2 mm tip at 20.9 degrees in place of 21.8, and round bodies creep."""
    contact_damping: float = 2.0
    """Damping ratio of the contact spring [1]. At 1 a round base wobbles on its rim for ever: a reference cylinder of
    1 m let go at 0.5 degrees did not rest in 10 s, one of 0.1 m in 2 of 6 drops; at 2 all rest, mostly in 0.5 s."""
    contact_impedance: tuple[float, float] = (0.95, 0.99)
    """Constraint impedance at zero and full depth [1]; halves the depth that the damping costs (8.5 um at rest)."""
    tolerance: float = 1e-8
    """Termination of the Newton solver [1]."""
    iterations: int = 100
    """Most iterations of the solver [1]."""
    base_memory: int = 64 * 2**20
    """Arena beside what bodies and contacts need [byte]. The default arena grows with the square of the bodies."""
    memory_per_geom: int = 48 * 2**10
    """Arena for the contacts and constraints of one hull [byte]."""


@dataclass
class MeshNames:
    """The meshes of one specification, so that each is stored once."""

    names: dict[str, str] = field(default_factory=dict)
    """Name of every mesh by its digest."""
    files: Mapping[str, str] | None = None
    """File of every mesh by its digest; None to store vertices in the specification and to leave surfaces out."""


def compile_world(world: World, *, timestep_scale: float, config: MujocoConfig) -> Any:
    """Return a compiled `mujoco.MjModel` of a world.

    Raises:
        EngineError: A free body lacks hulls or mass properties, or MuJoCo refuses the model.
    """
    spec = make_spec(world, timestep_scale=timestep_scale, config=config, meshes=MeshNames())
    try:
        return spec.compile()
    except ValueError as error:
        raise EngineError(f"mujoco refuses the world: {' '.join(str(error).split())}") from error


def write_world_xml(
    world: World, path: Path, *, mesh_files: Mapping[str, str], name: str, config: MujocoConfig
) -> None:
    """Write a world as MJCF whose meshes are files.

    Args:
        world: What to write; poses and inertials are written with all their digits.
        path: The XML file.
        mesh_files: File of every hull mesh by its digest, relative to the folder of `path`. A part whose surface has
            a file is also shown; otherwise its hulls are.
        name: Name of the model.
        config: Solver and contact settings.

    Raises:
        EngineError: MuJoCo cannot load a mesh file or refuses the world.
    """
    spec = make_spec(world, timestep_scale=1.0, config=config, meshes=MeshNames(files=mesh_files))
    spec.modelname = name
    spec.modelfiledir = os.fspath(path.parent)
    try:
        spec.compile()
        text = spec.to_xml()
    except ValueError as error:
        raise EngineError(f"mujoco refuses scene {name!r}: {' '.join(str(error).split())}") from error
    path.write_text(_with_all_digits(text, world), encoding="utf-8")


def _with_all_digits(text: str, world: World) -> str:
    """Return MJCF with poses and inertials that read back to the same doubles; MuJoCo itself writes six digits."""
    root = ElementTree.fromstring(text)
    elements = {element.get("name"): element for element in root.iter("body")}
    for placement in world.placements:
        poses = {placement.model.root.name: placement.X_WB}
        poses |= {joint.child: joint.X_PC for joint in placement.model.joints}
        for body in placement.model.bodies:
            is_root = body is placement.model.root
            element = elements[placement.name if is_root else body_name(placement.name, body.name)]
            element.set("pos", _spell(poses[body.name].position))
            element.set("quat", _spell(poses[body.name].quaternion))
            inertial = element.find("inertial")
            if inertial is not None and body.mass_properties is not None:
                inertial.attrib.clear()
                inertial.set("mass", repr(body.mass_properties.mass))
                inertial.set("pos", _spell(body.mass_properties.com))
                inertial.set("fullinertia", _spell(_six(body.mass_properties.inertia)))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _spell(numbers: Any) -> str:
    return " ".join(repr(float(number) + 0.0) for number in numbers)


def _six(inertia: np.ndarray) -> list[float]:
    """Return the six entries of an inertia in MuJoCo's order."""
    i = inertia
    return [float(value) for value in (i[0, 0], i[1, 1], i[2, 2], i[0, 1], i[0, 2], i[1, 2])]


def make_spec(world: World, *, timestep_scale: float, config: MujocoConfig, meshes: MeshNames) -> Any:
    """Return the `mujoco.MjSpec` of a world: ground, placements, options."""
    import mujoco

    spec = mujoco.MjSpec()
    spec.modelname = "world"
    set_options(spec, world, timestep_scale=timestep_scale, config=config)
    if world.ground is not None:
        settings = contact_settings(world.ground, config)
        plane = mujoco.mjtGeom.mjGEOM_PLANE
        spec.worldbody.add_geom(name=GROUND, type=plane, size=[0.0, 0.0, 1.0], margin=0.0, **settings)
    for placement in world.placements:
        add_placement(spec, placement, config, meshes)
    return spec


def set_options(spec: Any, world: World, *, timestep_scale: float, config: MujocoConfig) -> None:
    """Write solver options, flags and memory into a specification."""
    import mujoco

    option = spec.option
    option.timestep = verdict_timestep(world, config) * timestep_scale
    option.gravity = world.gravity
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    option.solver = mujoco.mjtSolver.mjSOL_NEWTON
    option.impratio = config.impratio
    option.tolerance = config.tolerance
    option.iterations = config.iterations
    # A bad state must be seen, not silently reset; a sleeping body would pass every test of rest.
    option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
    option.enableflags &= ~int(mujoco.mjtEnableBit.mjENBL_SLEEP)
    bodies = sum(len(p.model.bodies) for p in world.placements)
    geoms = sum(len(body.hulls) for p in world.placements for body in p.model.bodies)
    # Broad phase: two arrays of N (N - 1) / 2 integers.
    spec.memory = config.base_memory + config.memory_per_geom * geoms + 5 * bodies**2


def verdict_timestep(world: World, config: MujocoConfig) -> float:
    """Return the step that resolves the smallest free body [s]."""
    sizes = [p.model.root.size for p in world.placements if not p.fixed]
    gravity = float(np.linalg.norm(world.gravity)) or 9.81
    if not sizes:
        return config.timestep
    return min(config.timestep, config.timestep_per_tau * float(np.sqrt(min(sizes) / gravity)))


def contact_settings(material: Material, config: MujocoConfig, *, size: float = math.inf) -> dict[str, Any]:
    """Return the contact fields of a geom. MuJoCo takes the larger friction of a pair, which is our rule.

    It takes the mean of both contact springs, weighed by `solmix`, so that the stiffer one of a small body prevails.

    Args:
        material: What the geom is made of.
        config: Settings.
        size: Largest extent of its body [m]; infinite for the ground.
    """
    soft = min(1.0, config.contact_time_per_tau * math.sqrt(size / -GRAVITY[2]) / config.contact_time)
    return {
        "friction": [material.sliding_friction, material.torsional_friction, material.rolling_friction],
        "condim": 6,
        "solref": [soft * config.contact_time, config.contact_damping],
        "solimp": [*config.contact_impedance, 0.001, 0.5, 2.0],
        "solmix": soft**-2,
    }


def body_name(placement: str, body: str) -> str:
    """Return the name of a body that is not the root of its placement."""
    return f"{placement}/{body}"


def add_placement(spec: Any, placement: Placement, config: MujocoConfig, meshes: MeshNames) -> Any:
    """Add a model to a specification: a free or fixed root body, and the tree that hangs on it.

    Args:
        spec: `mujoco.MjSpec` that is added to.
        placement: What to add, and where.
        config: Contact settings.
        meshes: The meshes that the specification holds; added to.

    Returns:
        The root body of the specification.
    """
    model = placement.model
    root = _add_body(
        spec, spec.worldbody, placement.name, model.root, placement.X_WB, config, meshes, fixed=placement.fixed
    )
    if not placement.fixed:
        root.add_freejoint(name=placement.name)
    added = {model.root.name: root}
    waiting = list(model.joints)
    while waiting:
        ready = [joint for joint in waiting if joint.parent in added]
        for joint in ready:
            added[joint.child] = _add_child(spec, placement, joint, added[joint.parent], config, meshes)
        waiting = [joint for joint in waiting if joint not in ready]
    return root


def set_inertial(body: Any, inertial: MassProperties) -> None:
    """Write an explicit inertial, so that nothing is inferred from the hulls."""
    body.mass = inertial.mass
    body.ipos = inertial.com
    body.fullinertia = _six(inertial.inertia)
    body.explicitinertial = True


def _add_child(
    spec: Any, placement: Placement, joint: Joint, parent: Any, config: MujocoConfig, meshes: MeshNames
) -> Any:
    import mujoco

    child = next(body for body in placement.model.bodies if body.name == joint.child)
    name = body_name(placement.name, child.name)
    added = _add_body(spec, parent, name, child, joint.X_PC, config, meshes, fixed=placement.fixed)
    if joint.kind is not JointKind.FIXED:
        kinds = {
            JointKind.REVOLUTE: mujoco.mjtJoint.mjJNT_HINGE,
            JointKind.PRISMATIC: mujoco.mjtJoint.mjJNT_SLIDE,
        }
        added.add_joint(
            name=body_name(placement.name, joint.name),
            type=kinds[joint.kind],
            axis=joint.axis,
            range=[joint.lower, joint.upper],
            limited=mujoco.mjtLimited.mjLIMITED_TRUE,
        )
    return added


def _add_body(
    spec: Any,
    parent: Any,
    name: str,
    body: Body,
    X_PB: Pose,
    config: MujocoConfig,
    meshes: MeshNames,
    *,
    fixed: bool,
) -> Any:
    if not body.hulls:
        raise EngineError(f"mujoco: body {name!r} has no hulls; decompose it first")
    if body.mass_properties is None and not fixed:
        raise EngineError(f"mujoco: body {name!r} has no mass properties; integrate it first")
    added = parent.add_body(name=name, pos=X_PB.position, quat=X_PB.quaternion)
    if body.mass_properties is not None:
        set_inertial(added, body.mass_properties)
    shown = {part.name for part in body.parts if meshes.files is not None and part.surface.digest in meshes.files}
    for part in body.parts:
        if part.name in shown:
            _add_surface(spec, added, part, meshes)
    size = body.size  # of all vertices, so that it is asked for once
    for hull in body.hulls:
        group = COLLISION_GROUP if hull.part in shown else VISUAL_GROUP
        _add_hull(spec, added, hull.mesh, body.hull_material(hull), size, config, meshes, group)
    return added


def _add_surface(spec: Any, body: Any, part: Part, meshes: MeshNames) -> None:
    """Add the surface of a part, to be seen only."""
    name = _add_mesh(spec, part.surface, meshes, "surface")
    body.add_geom(
        type=_geom_type(), meshname=name, group=VISUAL_GROUP, contype=0, conaffinity=0, rgba=_rgba(part.material)
    )


def _add_hull(
    spec: Any,
    body: Any,
    mesh: Mesh,
    material: Material,
    size: float,
    config: MujocoConfig,
    meshes: MeshNames,
    group: int,
) -> None:
    name = _add_mesh(spec, mesh, meshes, "hull")
    contact = contact_settings(material, config, size=size)
    body.add_geom(type=_geom_type(), meshname=name, group=group, margin=0.0, rgba=_rgba(material), **contact)


def _add_mesh(spec: Any, mesh: Mesh, meshes: MeshNames, kind: str) -> str:
    """Return the name of a mesh in the specification, which is added when it is not there."""
    import mujoco

    if mesh.digest not in meshes.names:
        meshes.names[mesh.digest] = name = f"{kind}_{len(meshes.names):05d}"
        # Inertials are explicit: these integrals are not used, and must not fail on a mesh that is small or thin.
        integral = {
            "hull": mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX,
            "surface": mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
        }
        stored: dict[str, Any] = {"name": name, "inertia": integral[kind]}
        if meshes.files is None:
            stored |= {"uservert": np.ravel(mesh.vertices), "userface": np.ravel(mesh.faces)}
        else:
            stored["file"] = meshes.files[mesh.digest]
        spec.add_mesh(**stored)
    return meshes.names[mesh.digest]


def _geom_type() -> Any:
    import mujoco

    return mujoco.mjtGeom.mjGEOM_MESH


def _rgba(material: Material) -> list[float]:
    """Return the material's colour as sRGB, which MuJoCo's viewer expects."""
    return [12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in material.base_color] + [1.0]
