"""What the 3D view of a report draws: surfaces and hulls in few bytes, mass, rest poses and replayed drops."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from physics.mass import MassProperties
from physics.mesh import Mesh
from physics.validity import manifold_of
from scenegen.assets.asset import RestPose
from scenegen.assets.layout import srgb
from scenegen.reports.replay import Replay
from scenegen.reports.report_entry import Entry, finite

MOST_FACES = 8000
"""Faces of one surface beyond which it is simplified for the view [1]."""
FIRST_TOLERANCE = 2e-4
"""First tolerance of the simplification over L; doubled until the faces are few enough [1]."""
LEVELS = 65535
"""Coordinates are whole numbers from 0 to this along the longest side of the bounding box: 16 bits [1]."""


def web_scene(entry: Entry, replays: Sequence[Replay]) -> dict[str, Any] | None:
    """Return the content of the 3D view, or None where there is no surface."""
    if entry.model is None:
        return None
    body = entry.model.root
    corners = [part.surface.bounds for part in body.parts] + [hull.mesh.bounds for hull in body.hulls]
    low = np.min([bounds[0] for bounds in corners], axis=0)
    high = np.max([bounds[1] for bounds in corners], axis=0)
    step = float((high - low).max()) / LEVELS or 1.0
    return {
        "size": finite(body.size),
        "low": low.tolist(),
        "step": step,
        "parts": [
            {
                **_packed(display_mesh(part.surface), low, step),
                "name": part.name,
                "material": part.material.name,
                "color": [round(c, 4) for c in srgb(part.material.base_color)],
                "metallic": part.material.metallic,
                "roughness": part.material.roughness,
                "full_faces": len(part.surface.faces),
            }
            for part in body.parts
        ],
        "hulls": [_packed(hull.mesh, low, step) for hull in body.hulls],
        "mass": None if body.mass_properties is None else describe_mass(body.mass_properties),
        "rest_poses": [_describe_pose(pose) for pose in entry.rest_poses],
        "replays": [_describe_replay(replay) for replay in replays],
    }


def describe_mass(mass: MassProperties) -> dict[str, Any]:
    """Return mass, centre of mass, and the box of uniform density that has this inertia."""
    moments = mass.principal_moments
    # A box of sides a, b, c has I_a = m (b^2 + c^2) / 12, hence a^2 = 6 (I_b + I_c - I_a) / m.
    squares = 6 * (moments.sum() - 2 * moments) / mass.mass
    pose = mass.principal_pose
    return {
        "mass_kg": mass.mass,
        "com_m": mass.com.tolist(),
        "moments_kg_m2": moments.tolist(),
        "box_m": np.sqrt(np.maximum(squares, 0.0)).tolist(),
        "box_quaternion": pose.quaternion.tolist(),
    }


def display_mesh(mesh: Mesh, *, most_faces: int = MOST_FACES) -> Mesh:
    """Return a mesh of few faces that looks the same; for the eye only, nothing is measured on it."""
    if len(mesh.faces) <= most_faces:
        return mesh
    tolerance = FIRST_TOLERANCE * float(mesh.extents.max())
    solid = manifold_of(mesh.vertices, mesh.faces)
    if solid.is_empty():  # open or not manifold, as foreign surfaces may be
        return _clustered(mesh, most_faces)
    while solid.num_tri() > most_faces:
        solid, tolerance = solid.simplify(tolerance), 2 * tolerance
    found = solid.to_mesh64()
    return Mesh(np.asarray(found.vert_properties)[:, :3], np.asarray(found.tri_verts))


def _clustered(mesh: Mesh, most_faces: int) -> Mesh:
    """Return a mesh whose vertices in one cell of a grid are merged, on the finest grid with few enough faces."""
    cells = 256
    while True:
        keys = np.floor((mesh.vertices - mesh.bounds[0]) / max(float(mesh.extents.max()), 1e-12) * cells).astype(int)
        _, first, index = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        faces = index.reshape(-1)[mesh.faces]
        a, b, c = faces.T
        faces = faces[(a != b) & (b != c) & (c != a)]
        if len(faces) <= most_faces or cells <= 8:
            return Mesh(mesh.vertices[first], faces)
        cells = cells * 3 // 4


def _packed(mesh: Mesh, low: np.ndarray, step: float) -> dict[str, Any]:
    whole = np.clip(np.round((mesh.vertices - low) / step), 0, LEVELS).astype("<u2")
    index = mesh.faces.astype("<u2" if len(mesh.vertices) <= LEVELS else "<u4")
    return {
        "positions": base64.b64encode(whole.tobytes()).decode(),
        "faces": base64.b64encode(index.tobytes()).decode(),
        "index_bytes": index.dtype.itemsize,
    }


def _describe_pose(pose: RestPose) -> dict[str, Any]:
    return {
        "position": pose.X_WB.position.tolist(),
        "quaternion": pose.X_WB.quaternion.tolist(),
        "probability": finite(pose.probability),
        "upright": pose.upright,
        "rolls": pose.rolls,
        "engines": list(pose.engines),
    }


def _describe_replay(replay: Replay) -> dict[str, Any]:
    return {
        "start": replay.start,
        "engine": f"MuJoCo {replay.engine_version}",
        "outcome": replay.outcome,
        "rest_gap_m": finite(replay.rest_gap),
        "times": np.round(replay.times, 5).tolist(),
        "poses": np.round(np.concatenate([replay.positions, replay.quaternions], axis=1), 6).tolist(),
    }
