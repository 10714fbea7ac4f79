"""An asset as MJCF: one root body with a free joint, explicit inertials, classes `visual` and `collision`."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from physics.engine import Placement, World
from physics.model import Joint, JointKind, Model
from physics.mujoco_spec import MujocoConfig, contact_settings, verdict_timestep
from physics.pose import Pose
from scenegen.assets.layout import hull_paths, mesh_name, part_paths, spell, srgb
from scenegen.assets.tree import Node, walk_tree

VISUAL_GROUP, COLLISION_GROUP = 2, 3
"""Geom groups, as in the MuJoCo Menagerie."""

JOINT_TYPES = {JointKind.REVOLUTE: "hinge", JointKind.PRISMATIC: "slide"}
"""MJCF name of each kind of joint; a fixed joint is the absence of one."""


def mjcf_bytes(model: Model, *, config: MujocoConfig | None = None, options: bool = True) -> bytes:
    """Return a model as MJCF whose meshes are the files beside it.

    Args:
        model: Bodies with hulls and mass properties.
        config: Solver and contact settings that are written down; those of the verification when not given.
        options: Write down solver options too; False for a model that joins another, whose options hold.
    """
    config = config or MujocoConfig()
    root = ET.Element("mujoco", model=model.name)
    ET.SubElement(root, "compiler", angle="radian", autolimits="true")
    if options:
        alone = World((Placement(model.name, model, Pose.identity()),), None)
        ET.SubElement(
            root, "option", timestep=spell(verdict_timestep(alone, config)), integrator="implicitfast", cone="elliptic",
            impratio=spell(config.impratio), tolerance=spell(config.tolerance), iterations=str(config.iterations),
        )  # fmt: skip
    _add_classes(root, model, config)
    _add_assets(root, model)
    elements = {"": ET.SubElement(root, "worldbody")}
    for node in walk_tree(model):
        parent = "" if node.joint is None else node.joint.parent
        elements[node.body.name] = _add_body(elements[parent], node, model)
    ET.indent(root, " ")
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _add_classes(root: ET.Element, model: Model, config: MujocoConfig) -> None:
    default = ET.SubElement(root, "default")
    visual = ET.SubElement(default, "default", {"class": "visual"})
    ET.SubElement(visual, "geom", type="mesh", group=str(VISUAL_GROUP), contype="0", conaffinity="0", mass="0")
    ET.SubElement(visual, "mesh", inertia="shell")
    collision = ET.SubElement(default, "default", {"class": "collision"})
    # Contacts as verified: six dimensions for rolling friction, no margin, the same spring.
    contact = contact_settings(model.root.parts[0].material, config)
    ET.SubElement(
        collision, "geom", type="mesh", group=str(COLLISION_GROUP), condim=str(contact["condim"]), margin="0",
        solimp=spell(contact["solimp"]),
    )  # fmt: skip
    ET.SubElement(collision, "mesh", inertia="convex")


def _add_assets(root: ET.Element, model: Model) -> None:
    assets = ET.SubElement(root, "asset")
    materials = {part.material.name: part.material for _, part, _ in part_paths(model)}
    for material in materials.values():
        ET.SubElement(
            assets, "material", name=material.name, rgba=spell([*srgb(material.base_color), 1.0]),
            metallic=spell(material.metallic), roughness=spell(material.roughness),
        )  # fmt: skip
    for _, _, path in part_paths(model):
        ET.SubElement(assets, "mesh", {"class": "visual", "name": mesh_name(path), "file": path})
    for _, _, path in hull_paths(model):
        ET.SubElement(assets, "mesh", {"class": "collision", "name": mesh_name(path), "file": path})


def _add_body(parent: ET.Element, node: Node, model: Model) -> ET.Element:
    body = node.body
    attributes = {"name": body.name}
    if node.joint is not None:
        attributes |= {"pos": spell(node.joint.X_PC.position), "quat": spell(node.joint.X_PC.quaternion)}
    element = ET.SubElement(parent, "body", attributes)
    inertial, i = body.inertial, body.inertial.inertia
    tensor = [i[0, 0], i[1, 1], i[2, 2], i[0, 1], i[0, 2], i[1, 2]]
    ET.SubElement(element, "inertial", mass=spell(inertial.mass), pos=spell(inertial.com), fullinertia=spell(tensor))
    if node.joint is None:
        ET.SubElement(element, "freejoint", name=f"{body.name}_free")
    else:
        _add_joint(element, node.joint)
    for owner, part, path in part_paths(model):
        if owner == body.name:
            shown = {"class": "visual", "name": f"{mesh_name(path)}_visual"}
            ET.SubElement(element, "geom", {**shown, "mesh": mesh_name(path), "material": part.material.name})
    for owner, hull, path in hull_paths(model):
        if owner == body.name:
            contact = contact_settings(body.hull_material(hull), MujocoConfig(), size=body.size)
            names = {"class": "collision", "name": mesh_name(path), "mesh": mesh_name(path)}
            fields = {field: spell(contact[field]) for field in ("friction", "solref", "solmix")}
            ET.SubElement(element, "geom", {**names, **fields})
    return element


def _add_joint(element: ET.Element, joint: Joint) -> None:
    if joint.kind is JointKind.FIXED:
        return
    ET.SubElement(
        element, "joint", name=joint.name, type=JOINT_TYPES[joint.kind], axis=spell(joint.axis),
        limited="true", range=spell([joint.lower, joint.upper]),
    )  # fmt: skip
