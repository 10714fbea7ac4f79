"""An asset as URDF: a link for every body, one collision element for every hull, the full inertia tensor."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
from jaxtyping import Float64

from physics.materials import Material
from physics.model import Joint, JointKind, Model
from physics.pose import Pose
from scenegen.assets.layout import hull_paths, part_paths, spell, srgb
from scenegen.assets.tree import Node, walk_tree

EFFORT_LIMIT, VELOCITY_LIMIT = 1000.0, 100.0
"""Limits that the format demands of a moving joint [N or N m], [m/s or rad/s]; high enough not to matter."""

CONTACT_COMMENT = (
    " contact: coefficients against a surface of lateral friction 1 without rolling and spinning friction; Bullet "
    "multiplies the lateral frictions of two bodies. No rebound, as in the verification. Margins of hulls are not "
    "those of the verification: scenegen.load_asset_pybullet sets them. "
)
"""What a reader of the file has to know of its contact elements."""


def urdf_bytes(model: Model) -> bytes:
    """Return a model as URDF whose meshes are files with relative paths.

    PyBullet computes inertia from the collision shape unless it is loaded with URDF_USE_INERTIA_FROM_FILE.
    """
    root = ET.Element("robot", name=model.name)
    root.append(ET.Comment(CONTACT_COMMENT))
    materials = {part.material.name: part.material for _, part, _ in part_paths(model)}
    for material in materials.values():
        element = ET.SubElement(root, "material", name=material.name)
        ET.SubElement(element, "color", rgba=spell([*srgb(material.base_color), 1.0]))
    for node in walk_tree(model):
        _add_link(root, node, model)
        if node.joint is not None:
            _add_joint(root, node.joint)
    ET.indent(root, " ")
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def roll_pitch_yaw(X_AB: Pose) -> Float64[np.ndarray, "3"]:
    """Return the angles about the fixed axes x, y, z, in this order, that turn A into B [rad]."""
    r = X_AB.rotation
    pitch = np.arctan2(-r[2, 0], np.hypot(r[0, 0], r[1, 0]))
    if np.hypot(r[0, 0], r[1, 0]) < 1e-9:  # gimbal lock: only the sum of roll and yaw is defined
        return np.array([np.arctan2(-r[1, 2], r[1, 1]), pitch, 0.0])
    return np.array([np.arctan2(r[2, 1], r[2, 2]), pitch, np.arctan2(r[1, 0], r[0, 0])])


def _add_link(root: ET.Element, node: Node, model: Model) -> None:
    body = node.body
    link = ET.SubElement(root, "link", name=body.name)
    _add_contact(link, body.parts[0].material)
    inertial = ET.SubElement(link, "inertial")
    ET.SubElement(inertial, "origin", xyz=spell(body.inertial.com), rpy="0 0 0")
    ET.SubElement(inertial, "mass", value=spell(body.inertial.mass))
    i = body.inertial.inertia
    names = {"ixx": i[0, 0], "ixy": i[0, 1], "ixz": i[0, 2], "iyy": i[1, 1], "iyz": i[1, 2], "izz": i[2, 2]}
    ET.SubElement(inertial, "inertia", {name: spell(value) for name, value in names.items()})
    for owner, part, path in part_paths(model):
        if owner == body.name:
            visual = _add_mesh(link, "visual", path)
            ET.SubElement(visual, "material", name=part.material.name)
    for owner, _, path in hull_paths(model):
        if owner == body.name:
            _add_mesh(link, "collision", path)


def _add_contact(link: ET.Element, material: Material) -> None:
    # An extension of the format that Bullet reads; other readers skip it.
    contact = ET.SubElement(link, "contact")
    ET.SubElement(contact, "lateral_friction", value=spell(material.sliding_friction))
    ET.SubElement(contact, "rolling_friction", value=spell(material.rolling_friction))
    ET.SubElement(contact, "spinning_friction", value=spell(material.torsional_friction))
    # Verdicts are made without rebound: with the material's value the body would be another than the certified one.
    ET.SubElement(contact, "restitution", value=spell(0.0))


def _add_mesh(link: ET.Element, kind: str, path: str) -> ET.Element:
    element = ET.SubElement(link, kind)
    ET.SubElement(element, "origin", xyz="0 0 0", rpy="0 0 0")
    ET.SubElement(ET.SubElement(element, "geometry"), "mesh", filename=path, scale="1 1 1")
    return element


def _add_joint(root: ET.Element, joint: Joint) -> None:
    element = ET.SubElement(root, "joint", name=joint.name, type=joint.kind.value)
    ET.SubElement(element, "parent", link=joint.parent)
    ET.SubElement(element, "child", link=joint.child)
    ET.SubElement(element, "origin", xyz=spell(joint.X_PC.position), rpy=spell(roll_pitch_yaw(joint.X_PC)))
    if joint.kind is JointKind.FIXED:
        return
    ET.SubElement(element, "axis", xyz=spell(joint.axis))
    ET.SubElement(
        element, "limit", lower=spell(joint.lower), upper=spell(joint.upper),
        effort=spell(EFFORT_LIMIT), velocity=spell(VELOCITY_LIMIT),
    )  # fmt: skip
