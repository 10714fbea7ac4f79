"""A few plain assets for scene tests: certified by construction, in seconds."""

from __future__ import annotations

import functools

import numpy as np
from scipy.spatial import ConvexHull

from physics import truth as solids
from physics.mass import integrate_mesh
from physics.materials import find_material
from physics.mesh import Mesh
from physics.model import Body, Hull, Model, Part
from physics.stable_poses import stable_poses
from scenegen.assets.asset import Asset, Provenance, RestPose, settle_on_plane


def make_asset(name: str, mesh: Mesh, material: str, hulls: list[Mesh] | None = None, poses: int = 3) -> Asset:
    part = Part(name, mesh, find_material(material))
    mass = integrate_mesh(mesh, density=part.material.density)
    body = Body(name, (part,), tuple(Hull(hull, name) for hull in hulls or [mesh]), mass)
    rests = tuple(
        RestPose(settle_on_plane(body, pose.X_WB), pose.probability, pose.upright, ("mujoco", "pybullet"))
        for pose in stable_poses(body)[:poses]
    )
    return Asset(Model(name, (body,)), (), name, Provenance("test", 0, name), rests)


def l_bar_hulls() -> list[Mesh]:
    """The two boxes that cover the default L-bar."""
    from scenegen.scenes.supports import make_box

    return [make_box((0, 0, 0), (0.1, 0.04, 0.04)), make_box((0, 0.04, 0), (0.04, 0.1, 0.04))]


@functools.cache
def plain_assets() -> tuple[Asset, ...]:
    prism = solids.cylinder(0.03, 0.05, segments=8).mesh
    return (
        make_asset("brick", solids.box((0.12, 0.06, 0.04)).mesh, "stoneware"),
        make_asset("block", solids.box((0.05, 0.05, 0.05)).mesh, "oak"),
        make_asset("l_bar", solids.l_bar().mesh, "steel", l_bar_hulls()),
        make_asset("prism", _outward(prism), "pla"),
    )


def furniture_asset(name: str, boxes: list[tuple], material: str) -> Asset:
    """An asset of boxes, each given by its two corners, that stands on z = 0."""
    from physics.hulls import union_mesh
    from scenegen.scenes.supports import make_box

    hulls = [make_box(*corners) for corners in boxes]
    return make_asset(name, union_mesh(hulls, name), material, hulls, poses=12)


@functools.cache
def bench() -> Asset:
    """A low table on two sides."""
    top = ((-0.35, -0.2, 0.4), (0.35, 0.2, 0.43))
    sides = [((x, -0.2, 0.0), (x + 0.04, 0.2, 0.41)) for x in (-0.35, 0.31)]
    return furniture_asset("table", [top, *sides], "oak")


@functools.cache
def pedestal() -> Asset:
    """A wide, light top on a narrow foot, which tips under a load that is not in the middle."""
    top, foot = ((-0.3, -0.3, 0.3), (0.3, 0.3, 0.306)), ((-0.02, -0.02, 0.0), (0.02, 0.02, 0.303))
    return furniture_asset("shelf", [top, foot], "pla")


def _outward(mesh: Mesh) -> Mesh:
    assert np.isclose(ConvexHull(mesh.vertices).volume, mesh.volume)
    return mesh
