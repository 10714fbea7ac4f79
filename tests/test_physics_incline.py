"""D9 and D10 on bodies whose angles are known, and on engines that hold another body or another friction."""

from dataclasses import replace

import drop_bodies as bodies
import numpy as np
import pytest

from physics import truth as solids
from physics.check import Check, Verdict
from physics.drop_record import DropConfig
from physics.engine import Engine, Placement, World
from physics.floors import REFERENCE_MATERIAL, OpenEngine
from physics.incline import check_incline, stand
from physics.materials import Material
from physics.mesh import Mesh
from physics.model import Model
from physics.subject import Subject

ENGINES = bodies.ENGINES
GROUND = REFERENCE_MATERIAL
SLIDES_AT = np.degrees(np.arctan(0.5))


def tall_block() -> Model:
    return bodies.cuboid("block", 0.03, 0.03, 0.1)


def incline(model: Model, engine: str, opened: OpenEngine | None = None) -> dict[str, Check]:
    subject = Subject(model, DropConfig())
    record = bodies.drop(model, engine)
    opened = opened or bodies.opener(engine)
    checks = check_incline(subject, record.rest_poses, opened, engine=engine, ground=GROUND)
    return {check.id: check for check in checks}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_block_tips_where_its_base_ends(engine: str) -> None:
    found = incline(tall_block(), engine)
    assert found["D9"].verdict is Verdict.PASS and found["D9"].value == pytest.approx(np.radians(0.5))
    assert found["D9"].detail == "tips at 16.7 deg"
    assert found["D10"].name == "does not apply" and "before or as it slides" in found["D10"].detail


@pytest.mark.parametrize("engine", ENGINES)
def test_a_slab_slides_by_the_friction_cone(engine: str) -> None:
    found = incline(bodies.cuboid("slab", 0.1, 0.08, 0.03), engine)
    assert found["D10"].verdict is Verdict.PASS and found["D10"].value < 0.08
    assert found["D9"].name == "does not apply" and f"slides at {SLIDES_AT:.3g} deg" in found["D9"].detail


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("factor", [0.0, 0.9, 1.1])
def test_another_friction_in_the_engine_fails(engine: str, factor: float) -> None:
    def slippery(world: World, **options: object) -> Engine:
        def changed(material: Material) -> Material:
            return replace(material, sliding_friction=factor * material.sliding_friction)

        def placed(placement: Placement) -> Placement:
            body = placement.model.root
            parts = tuple(replace(part, material=changed(part.material)) for part in body.parts)
            return replace(placement, model=replace(placement.model, bodies=(replace(body, parts=parts),)))

        assert world.ground is not None
        spoiled = World(tuple(map(placed, world.placements)), changed(world.ground), world.gravity)
        return bodies.opener(engine)(spoiled, **options)

    found = incline(bodies.cuboid("slab", 0.1, 0.08, 0.03), engine, slippery)
    assert found["D10"].verdict is Verdict.FAIL


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("width", [0.7, 1.5])
def test_another_base_in_the_engine_fails(engine: str, width: float) -> None:
    def other_base(world: World, **options: object) -> Engine:
        placement = world.placements[0]
        body = placement.model.root
        hull = body.hulls[0]
        mesh = Mesh(hull.mesh.vertices * [width, width, 1.0], hull.mesh.faces)
        spoiled = replace(
            placement, model=replace(placement.model, bodies=(replace(body, hulls=(replace(hull, mesh=mesh),)),))
        )
        return bodies.opener(engine)(replace(world, placements=(spoiled,)), **options)

    assert incline(tall_block(), engine, other_base)["D9"].verdict is Verdict.FAIL


def test_what_rolls_has_no_angle() -> None:
    found = incline(bodies.convex("ball", solids.sphere().mesh), "mujoco")
    assert all(check.name == "does not apply" and check.detail == "it rolls" for check in found.values())


def test_an_uneven_foot_rocks_before_it_tips() -> None:
    """A block whose base lacks one corner by 0.1 mm tips over the whole base, not over the facet that it stands on."""
    block = tall_block()
    mesh = block.root.hulls[0].mesh
    vertices = mesh.vertices.copy()
    low = np.flatnonzero(vertices[:, 2] == vertices[:, 2].min())
    vertices[low[0], 2] += 1e-4
    uneven = bodies.convex("uneven", Mesh(vertices, mesh.faces))
    angles = []
    for model in (block, uneven):
        record = bodies.drop(model, "mujoco")
        standing = next(pose for pose in record.rest_poses if pose.down[2] < -0.99)
        foot = stand(Subject(model, DropConfig()), standing, 0.0)
        assert foot is not None
        angles.append(np.degrees(foot.tip_angle))
    assert angles[1] == pytest.approx(angles[0], abs=0.6)
