"""Agreement of two real engines on equilibria (D12)."""

from __future__ import annotations

import dataclasses

import drop_bodies as bodies
import numpy as np
import pytest
from drop_bodies import ENGINES, REFERENCE_MATERIAL, drop, floors, opener

from physics.agreement import REQUIRED_DYNAMIC_CHECKS, check_agreement
from physics.check import Verdict, overall_verdict
from physics.drop_record import DropConfig, DropRecord
from physics.errors import EngineError
from physics.model import Model
from physics.pose import Pose
from scenegen.assets.asset import collect_rest_poses

CUBOID = bodies.cuboid("cuboid", 0.1, 0.06, 0.03)


def agree(model: Model, a: DropRecord, b: DropRecord | None, second: str = "mujoco", **options):
    return check_agreement(
        model,
        a,
        b,
        opener("mujoco"),
        opener(second) if b is not None else None,
        ground=REFERENCE_MATERIAL,
        floors=tuple(floors(engine) for engine in ("mujoco", second)),
        **options,
    )


@pytest.mark.skipif("pybullet" not in ENGINES, reason="needs the second engine")
@pytest.mark.parametrize("model", [CUBOID, bodies.hammer(), bodies.l_bar()], ids=lambda model: model.name)
def test_engines_agree_on_sound_bodies(model: Model) -> None:
    a, b = drop(model, "mujoco"), drop(model, "pybullet")
    checks = agree(model, a, b, "pybullet")
    assert {check.id for check in checks} == {"D12"}
    assert all(check.verdict is Verdict.PASS for check in checks), "\n".join(check.describe() for check in checks)


def test_a_missing_engine_is_never_a_pass() -> None:
    a = drop(CUBOID, "mujoco")
    checks = agree(CUBOID, a, None)
    assert [check.verdict for check in checks] == [Verdict.UNDECIDED]
    assert "not installed" in checks[0].describe()
    assert overall_verdict((*a.checks, *checks), REQUIRED_DYNAMIC_CHECKS) is Verdict.UNDECIDED
    assert overall_verdict(a.checks, REQUIRED_DYNAMIC_CHECKS) is Verdict.UNDECIDED


def tipping_pose(a: DropRecord):
    turn = Pose.from_axis_angle(np.array([0.0, 1.0, 0.0]), np.deg2rad(30))
    lowest = turn.rotate(CUBOID.root.parts[0].surface.vertices)[:, 2].min()
    return dataclasses.replace(
        a.rest_poses[0],
        X_WB=Pose(np.array([0, 0, -lowest]), turn.quaternion),
        down=turn.rotation.T @ np.array([0.0, 0.0, -1.0]),
        com_height=float(turn.apply(CUBOID.root.inertial.com)[2] - lowest),
    )


def test_a_rest_pose_that_does_not_hold_is_undecided() -> None:
    a = drop(CUBOID, "mujoco")
    checks = agree(CUBOID, a, dataclasses.replace(a, rest_poses=(tipping_pose(a),)))
    assert Verdict.UNDECIDED in {check.verdict for check in checks}
    assert any("turned" in check.detail for check in checks)


def test_a_precarious_pose_that_tips_over_elsewhere_warns_but_one_pose_has_to_hold() -> None:
    a = drop(CUBOID, "mujoco")
    rare = dataclasses.replace(tipping_pose(a), precarious=True)
    beside = agree(CUBOID, a, dataclasses.replace(a, rest_poses=(*a.rest_poses, rare)))
    assert overall_verdict(beside) is Verdict.WARN
    assert [c.name for c in beside if c.verdict is Verdict.WARN] == ["turn of precarious rest poses of mujoco"]
    alone = agree(CUBOID, a, dataclasses.replace(a, rest_poses=(rare,)))
    assert overall_verdict(alone) is Verdict.UNDECIDED
    held = agree(CUBOID, a, dataclasses.replace(a, rest_poses=(dataclasses.replace(rare, balanced=True),)))
    assert overall_verdict(held) is Verdict.UNDECIDED


def test_an_asset_offers_no_pose_that_one_engine_alone_holds_near_tipping() -> None:
    a = drop(CUBOID, "mujoco")
    rare = dataclasses.replace(a.rest_poses[-1], precarious=True)
    b = dataclasses.replace(a, engine="other", rest_poses=a.rest_poses[:-1])
    found = [
        len(collect_rest_poses(CUBOID.root, (dataclasses.replace(a, rest_poses=poses), b)))
        for poses in (
            a.rest_poses,
            (*a.rest_poses[:-1], rare),
            (*a.rest_poses[:-1], dataclasses.replace(rare, balanced=True)),
        )
    ]
    assert found == [len(a.rest_poses), len(a.rest_poses) - 1, len(a.rest_poses) - 1]


def test_different_ends_of_one_start_are_undecided() -> None:
    a = drop(CUBOID, "mujoco")
    swapped = dict(zip((d.name for d in a.drops), (*a.drops[2:4], *a.drops[:2]), strict=False))
    ends = tuple(dataclasses.replace(swapped[d.name], start=d.start) if d.name in swapped else d for d in a.drops)
    checks = agree(CUBOID, a, dataclasses.replace(a, drops=ends))
    undecided = {check.name for check in checks if check.verdict is Verdict.UNDECIDED}
    assert undecided == {"gravity direction from one stable start", "height from one stable start"}


def test_no_rest_pose_is_no_agreement() -> None:
    a = drop(CUBOID, "mujoco")
    nothing = dataclasses.replace(a, rest_poses=(), drops=())
    checks = agree(CUBOID, a, nothing)
    assert Verdict.UNDECIDED in {check.verdict for check in checks}
    assert overall_verdict(checks) is Verdict.UNDECIDED


def test_creep_between_limit_and_engine_floor_is_no_failure() -> None:
    a = drop(CUBOID, "mujoco")
    tight = dataclasses.replace(DropConfig(), creep_limit=1e-15)
    high = dataclasses.replace(floors("mujoco"), creep_position=np.full(len(floors("mujoco").sizes), 1e-3))
    low = dataclasses.replace(floors("mujoco"), creep_position=np.full(len(floors("mujoco").sizes), 1e-15))
    verdicts = []
    for measured in (high, low):
        checks = check_agreement(
            CUBOID,
            a,
            a,
            opener("mujoco"),
            opener("mujoco"),
            ground=REFERENCE_MATERIAL,
            floors=(measured,),
            config=tight,
        )
        verdicts.append({check.verdict for check in checks if check.name.endswith("hold")})
    assert verdicts == [{Verdict.PASS}, {Verdict.UNDECIDED}]


def test_an_engine_agrees_with_itself() -> None:
    a = drop(CUBOID, "mujoco")
    assert {check.verdict for check in agree(CUBOID, a, a)} == {Verdict.PASS}


def test_floors_of_both_engines_are_needed() -> None:
    a = drop(CUBOID, "mujoco")
    with pytest.raises(EngineError, match="no floors of 'mujoco'"):
        check_agreement(CUBOID, a, a, opener("mujoco"), opener("mujoco"), ground=REFERENCE_MATERIAL, floors=())
