"""An asset as GLB: what it looks like, with physically based materials and normals, y up as glTF demands."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from physics.mesh import Mesh
from physics.model import Model, Part
from physics.pose import Pose
from scenegen.assets.corner_normals import split_vertices
from scenegen.assets.tree import walk_tree

Z_UP_TO_Y_UP = Pose.from_axis_angle(np.array([1.0, 0.0, 0.0]), -np.pi / 2)
"""Pose of our frame (z up) in that of glTF (y up)."""

ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, FLOAT, UNSIGNED_INT = 34962, 34963, 5126, 5125
"""Constants of glTF 2.0, sections 3.6.2 and 5."""


def glb_bytes(model: Model) -> bytes:
    """Return a model as binary glTF 2.0; lengths in metres, joints at coordinate 0.

    References:
        Khronos, "glTF 2.0 Specification", 2021, section 4 (GLB) and 3.7 (geometry).
    """
    binary = bytearray()
    tree: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "scenegen"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [],
        "meshes": [],
        "materials": [],
        "accessors": [],
        "bufferViews": [],
        "buffers": [],
    }
    materials: dict[str, int] = {}
    nodes = walk_tree(model)
    index = {node.body.name: number + 1 for number, node in enumerate(nodes)}
    tree["nodes"].append({"name": f"{model.name}_y_up", "children": [1], **_transform(Z_UP_TO_Y_UP)})
    for node in nodes:
        entry: dict[str, Any] = {"name": node.body.name, "mesh": len(tree["meshes"])}
        if node.joint is not None:
            entry |= _transform(node.joint.X_PC)
        if node.children:
            entry["children"] = [index[name] for name in node.children]
        tree["nodes"].append(entry)
        primitives = [_add_primitive(tree, binary, part, materials) for part in node.body.parts]
        tree["meshes"].append({"name": node.body.name, "primitives": primitives})
    tree["buffers"].append({"byteLength": len(binary)})
    return _pack(tree, bytes(binary))


def _add_primitive(tree: dict[str, Any], binary: bytearray, part: Part, materials: dict[str, int]) -> dict[str, Any]:
    material = part.material
    if material.name not in materials:
        materials[material.name] = len(tree["materials"])
        look = {
            "baseColorFactor": [*material.base_color, 1.0],
            "metallicFactor": material.metallic,
            "roughnessFactor": material.roughness,
        }
        tree["materials"].append({"name": material.name, "pbrMetallicRoughness": look})
    mesh: Mesh = split_vertices(part.surface)
    normals = np.zeros_like(mesh.vertices) if mesh.normals is None else mesh.normals
    vertices = mesh.vertices.astype("<f4")
    bounds = {"min": vertices.min(axis=0).tolist(), "max": vertices.max(axis=0).tolist()}
    unit = normals.astype("<f4")
    return {
        "attributes": {
            "POSITION": _add_array(tree, binary, vertices, "VEC3", FLOAT, ARRAY_BUFFER, bounds),
            "NORMAL": _add_array(tree, binary, unit, "VEC3", FLOAT, ARRAY_BUFFER, {}),
        },
        "indices": _add_array(
            tree, binary, mesh.faces.astype("<u4").ravel(), "SCALAR", UNSIGNED_INT, ELEMENT_ARRAY_BUFFER, {}
        ),
        "material": materials[material.name],
    }


def _add_array(
    tree: dict[str, Any],
    binary: bytearray,
    array: np.ndarray,
    kind: str,
    component: int,
    target: int,
    more: dict[str, Any],
) -> int:
    data = array.tobytes()
    tree["bufferViews"].append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(data), "target": target})
    binary += data
    view = len(tree["bufferViews"]) - 1
    tree["accessors"].append(
        {"bufferView": view, "componentType": component, "count": len(array), "type": kind, **more}
    )
    return len(tree["accessors"]) - 1


def _transform(pose: Pose) -> dict[str, list[float]]:
    w, x, y, z = (float(value) + 0.0 for value in pose.quaternion)
    return {"translation": [float(value) + 0.0 for value in pose.position], "rotation": [x, y, z, w]}


def _pack(tree: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(tree, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    total = 12 + 8 + len(text) + 8 + len(binary)
    head = struct.pack("<4sII", b"glTF", 2, total)
    return head + struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
