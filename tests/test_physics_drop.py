"""Drop tests in the real engines: what must pass, what must fail, and that nothing is passed by averaging."""

from __future__ import annotations

import dataclasses

import drop_bodies as bodies
import numpy as np
import pytest
from drop_bodies import ENGINES, REFERENCE_MATERIAL, drop, failing, floors, opener, report

from physics import truth as solids
from physics.check import Check, Verdict
from physics.drop import find_rest_poses, plan_starts
from physics.drop_checks import Judge, worst_of
from physics.drop_record import REQUIRED_DROP_CHECKS, Drop, DropConfig, Outcome, Start
from physics.drop_trial import Watch, hold, place_on_plane, put_at, settle, simulate_drop
from physics.engine import Engine, State, World
from physics.errors import ModelError
from physics.floors import OpenEngine
from physics.mass import MassProperties
from physics.model import Joint, JointKind, Model
from physics.pose import Pose
from physics.rolling import beside_rolling, is_quiet, slows_down
from physics.stable_poses import pose_on_plane
from physics.subject import SUBJECT, Moment, Subject

CUBE = bodies.cuboid("cube", 0.1, 0.1, 0.1)

MUST_PASS = {
    "cube 10 mm": bodies.cuboid("cube", 0.01, 0.01, 0.01),
    "cube 100 mm": bodies.cuboid("cube", 0.1, 0.1, 0.1),
    "cube 1 m": bodies.cuboid("cube", 1.0, 1.0, 1.0),
    "cuboid": bodies.cuboid("cuboid", 0.1, 0.06, 0.03),
    "plate 1 mm thick": bodies.cuboid("plate", 0.1, 0.1, 0.001),
    "rod": bodies.cuboid("rod", 0.15, 0.01, 0.01),
    "L-bar": bodies.l_bar(),
    "ring": bodies.ring(),
    "hammer": bodies.hammer(),
}


def trial(model: Model, engine: str, X_WB: Pose, *, config: DropConfig | None = None, opened: OpenEngine | None = None):
    """One drop from a pose of our choice, and its checks."""
    subject = Subject(model, config or DropConfig())
    clearance = float(X_WB.apply(subject.corners)[:, 2].min())
    running = (opened or opener(engine))(subject.world(REFERENCE_MATERIAL))
    try:
        result = simulate_drop(running, subject, Start("trial", X_WB, clearance))
    finally:
        running.close()
    return result, Judge(subject, engine, floors(engine)).judge_drop(result)


def fails(checks: tuple[Check, ...]) -> set[str]:
    return {check.id for check in checks if check.verdict is Verdict.FAIL}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", MUST_PASS)
def test_sound_bodies_pass(name: str, engine: str) -> None:
    # Seed 0 lets the 10 mm cube of Bullet fall onto an edge within 0.6 degrees of balance, where a rolling friction of
    # 0.1 mm rightly holds it: a true equilibrium of that model, which D8 fails.
    record = drop(MUST_PASS[name], engine, seed=1)
    assert record.verdict in (Verdict.PASS, Verdict.WARN), report(record)
    assert {check.id for check in record.checks} >= set(REQUIRED_DROP_CHECKS)
    assert any(pose.upright for pose in record.rest_poses)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_cylinder_passes_with_its_axis_declared(engine: str) -> None:
    record = drop(bodies.cylinder(), engine, symmetry_axis=np.array([0.0, 0.0, 1.0]))
    assert record.verdict in (Verdict.PASS, Verdict.WARN), report(record)


@pytest.mark.parametrize("engine", ENGINES)
def test_free_fall_follows_semi_implicit_euler(engine: str) -> None:
    result, _ = trial(CUBE, engine, Pose.translation(0, 0, 0.2))
    assert result.free_fall_error < 1e-9


@pytest.mark.parametrize("engine", ENGINES)
def test_a_needle_balanced_on_its_tip_is_not_at_rest(engine: str) -> None:
    result, checks = trial(bodies.needle(), engine, Pose.translation(0, 0, 1e-3))
    fallen = result.outcome.settled and abs(result.down[2]) < 0.1
    assert fallen or "D8" in fails(checks), result


@pytest.mark.parametrize(("rolling_friction", "verdict"), [(0.0, Verdict.FAIL), (1e-4, Verdict.WARN)])
def test_only_rolling_friction_balances_a_body(rolling_friction: float, verdict: Verdict) -> None:
    """A centre of mass exactly above a point is inside it by 0 m: that alone holds nothing."""
    needle = bodies.needle()
    rested, _ = trial(needle, "pybullet", Pose.translation(0, 0, 1e-3))
    upright = dataclasses.replace(rested, outcome=Outcome.RESTED, down=np.array([0.0, 0.0, -1.0]), rest_angle=1.5)
    judge = Judge(Subject(needle, DropConfig()), "pybullet", floors("pybullet"), rolling_friction=rolling_friction)
    assert [check.verdict for check in judge.judge_drop(upright) if check.id == "D8"] == [verdict]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_floating_body_has_no_support(engine: str) -> None:
    def weightless(world: World, **options) -> Engine:
        running = opener(engine)(world, **options)
        running.set_gravity((0.0, 0.0, 0.0))
        return running

    result, checks = trial(
        bodies.cuboid("cube", 0.1, 0.1, 0.1), engine, Pose.translation(0, 0, 0.01), opened=weightless
    )
    assert result.outcome is Outcome.RESTED and result.load == 0
    assert {"D1", "D4", "D5"} <= fails(checks)
    record = drop(CUBE, engine, opened=weightless)
    assert record.verdict is Verdict.FAIL


@pytest.mark.parametrize("engine", ENGINES)
def test_no_ground_is_no_rest(engine: str) -> None:
    def groundless(world: World, **options) -> Engine:
        return opener(engine)(dataclasses.replace(world, ground=None), **options)

    result, checks = trial(
        bodies.cuboid("cube", 0.1, 0.1, 0.1), engine, Pose.translation(0, 0, 0.01), opened=groundless
    )
    assert result.outcome is Outcome.ESCAPED
    assert {"D3", "D4", "D5"} <= fails(checks)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_sphere_on_a_slope_never_rests(engine: str) -> None:
    tilted = DropConfig(gravity=(9.81 * np.sin(0.2), 0.0, -9.81 * np.cos(0.2)))
    ball = bodies.convex("ball", solids.sphere(segments=64).mesh)
    result, checks = trial(ball, engine, Pose.translation(0, 0, 0.052), config=tilted)
    assert not result.outcome.settled
    assert "D3" in fails(checks)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_block_past_its_tipping_angle_falls(engine: str) -> None:
    block = bodies.cuboid("block", 0.04, 0.04, 0.1)
    ends = {}
    for tilt in (20.5, 23.0):  # tips at atan(0.02 / 0.05) = 21.80 degrees
        turn = Pose.from_axis_angle(np.array([0.0, 1.0, 0.0]), np.deg2rad(tilt))
        lowest = turn.rotate(Subject(block, DropConfig()).corners)[:, 2].min()
        result, _ = trial(block, engine, Pose(np.array([0, 0, 1e-4 - lowest]), turn.quaternion))
        ends[tilt] = result.down
    assert ends[20.5][2] < -0.99
    assert ends[23.0][2] > -0.1


@pytest.mark.parametrize("engine", ENGINES)
def test_a_pose_that_does_not_hold_shows_creep(engine: str) -> None:
    block = bodies.cuboid("block", 0.04, 0.04, 0.1)
    subject = Subject(block, DropConfig())
    running = opener(engine)(subject.world(REFERENCE_MATERIAL))
    turn = Pose.from_axis_angle(np.array([0.0, 1.0, 0.0]), np.deg2rad(25))
    lowest = turn.rotate(subject.corners)[:, 2].min()
    put_at(running, Pose(np.array([0, 0, -lowest]), turn.quaternion))
    moved = hold(Watch(running, subject), 2.0)
    running.close()
    assert moved["creep_position"] > subject.config.creep_limit * subject.size
    assert moved["creep_angle"] > subject.config.creep_angle_limit


@pytest.mark.parametrize("engine", ENGINES)
def test_a_body_that_starts_in_the_ground_gains_energy_or_fails(engine: str) -> None:
    config = DropConfig()
    cube = bodies.cuboid("cube", 0.1, 0.1, 0.1)
    subject = Subject(cube, config)
    running = opener(engine)(subject.world(REFERENCE_MATERIAL))
    result = simulate_drop(running, subject, Start("sunk", Pose.translation(0, 0, -0.04), 1e-3))
    running.close()
    assert fails(Judge(subject, engine, floors(engine)).judge_drop(result)) & {"D1", "D2", "D3", "D4"}


@pytest.mark.parametrize("engine", ENGINES)
def test_an_inertia_that_no_body_has_is_not_passed(engine: str) -> None:
    cube = bodies.cuboid("cube", 0.1, 0.1, 0.1)
    inertial = cube.root.inertial
    impossible = MassProperties(inertial.mass, inertial.com, np.diag([1.0, 1.0, 2.5]) * inertial.inertia[0, 0])
    body = dataclasses.replace(cube.root, mass_properties=impossible)
    record = drop(Model("cube", (body,)), engine)
    if engine == "mujoco":  # refuses A + B < C; Bullet takes it, which is why I2 comes first
        assert record.verdict is Verdict.FAIL
        assert failing(record) == {"D14"} and not record.drops


def test_an_engine_that_refuses_is_a_failed_check_and_not_an_exception() -> None:
    record = drop(CUBE, "mujoco", opened=bodies.refusing)
    assert record.verdict is Verdict.FAIL
    assert "refuses this world" in record.checks[0].detail


def test_a_state_that_is_not_finite_fails() -> None:
    def poisoned(world: World, **options) -> Engine:
        running = opener("mujoco")(world, **options)
        running.set_gravity((0.0, 0.0, float("nan")))
        return running

    result, checks = trial(
        bodies.cuboid("cube", 0.1, 0.1, 0.1), "mujoco", Pose.translation(0, 0, 0.01), opened=poisoned
    )
    assert result.outcome is Outcome.UNHEALTHY
    assert {"D3", "D14"} <= fails(checks)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_repeated_drop_in_one_engine_is_the_same_drop(engine: str) -> None:
    subject = Subject(bodies.l_bar(), DropConfig())
    starts = plan_starts(subject, np.random.default_rng(3))[-2:]
    running = opener(engine)(subject.world(REFERENCE_MATERIAL))
    first, other, again = (simulate_drop(running, subject, start) for start in (starts[0], starts[1], starts[0]))
    running.close()
    fresh = opener(engine)(subject.world(REFERENCE_MATERIAL))
    alone = simulate_drop(fresh, subject, starts[0])
    fresh.close()
    for result in (again, alone):
        assert result.X_WB.position.tobytes() == first.X_WB.position.tobytes()
        assert result.X_WB.quaternion.tobytes() == first.X_WB.quaternion.tobytes()
    assert other.name != first.name


@pytest.mark.parametrize("engine", ENGINES)
def test_records_are_deterministic(engine: str) -> None:
    one, two = (drop(bodies.hammer(), engine, seed=5) for _ in range(2))
    assert one.checks == two.checks
    assert [d.X_WB.position.tobytes() for d in one.drops] == [d.X_WB.position.tobytes() for d in two.drops]


def test_records_hold_plain_numbers_only() -> None:
    record = drop(CUBE, "mujoco")
    for item in (*record.drops, *record.rest_poses, *record.checks, record):
        for field in dataclasses.fields(item):
            value = getattr(item, field.name)
            assert not isinstance(value, np.generic | dict | list), f"{type(item).__name__}.{field.name}: {type(value)}"


def test_starts_cover_the_probability_and_the_upright_pose() -> None:
    subject = Subject(bodies.cuboid("block", 0.04, 0.04, 0.1), DropConfig())
    starts = plan_starts(subject, np.random.default_rng(0))
    stable = [start for start in starts if start.stable_index >= 0]
    assert sum(start.probability for start in stable) >= 0.8
    assert [start.name for start in starts].count("upright") == 1
    assert len(starts) - len(stable) == 4
    for start in starts:
        assert start.X_WB.apply(subject.corners)[:, 2].min() == pytest.approx(start.clearance, abs=1e-12)
    tiny = Subject(bodies.cuboid("cube", 0.01, 0.01, 0.01), DropConfig())
    assert plan_starts(tiny, np.random.default_rng(0))[0].clearance == 1e-3


def test_the_worst_drop_decides() -> None:
    good = Check("D4", "depth", 0.001, "1", 0.01, detail="a")
    bad = Check("D4", "depth", 0.02, "1", 0.01, detail="b")
    blank = Check("D4", "depth", np.nan, "1", 0.01, detail="c")
    assert worst_of([good] * 9 + [bad])[0].verdict is Verdict.FAIL
    assert "b" in worst_of([good, bad, good])[0].detail
    assert worst_of([good, blank, good])[0].verdict is Verdict.FAIL
    low = Check("D5", "margin", -0.5, "1", 0.0, sense=">=", detail="low")
    assert "low" in worst_of([low, Check("D5", "margin", -0.1, "1", 0.0, sense=">=")])[0].detail


def test_a_drop_that_measured_nothing_fails_everything() -> None:
    subject = Subject(bodies.cuboid("cube", 0.1, 0.1, 0.1), DropConfig())
    start = plan_starts(subject, np.random.default_rng(0))[0]
    nothing = Drop(start, Outcome.STOPPED, 1e-3, 0, None, np.full(3, np.nan))
    checks = Judge(subject, "mujoco", floors("mujoco")).judge([nothing], [])
    assert {check.id for check in checks if check.verdict is not Verdict.FAIL} == set()
    assert {check.id for check in checks} == set(REQUIRED_DROP_CHECKS) - {"D9", "D10"}  # theirs are made apart
    assert find_rest_poses(Judge(subject, "mujoco", floors("mujoco")), [nothing]) == ()


def test_a_result_that_depends_on_the_time_step_is_undecided() -> None:
    subject = Subject(bodies.cuboid("cube", 0.1, 0.06, 0.03), DropConfig())
    running = opener("mujoco")(subject.world(REFERENCE_MATERIAL))
    starts = plan_starts(subject, np.random.default_rng(0))
    drops = [simulate_drop(running, subject, start, creep=True) for start in starts[:3]]
    running.close()
    judge = Judge(subject, "mujoco", floors("mujoco"))
    same = [check for check in judge.judge(drops[:1], drops[:1]) if check.id == "D11"]
    other = [check for check in judge.judge(drops[:1], drops[2:]) if check.id == "D11"]
    never = [check for check in judge.judge(drops[:1], []) if check.id == "D11"]
    assert [check.verdict for check in (*same, *other, *never)] == [Verdict.PASS, Verdict.UNDECIDED, Verdict.FAIL]


def test_processor_time_is_limited() -> None:
    result, checks = trial(CUBE, "mujoco", Pose.translation(0, 0, 0.1), config=DropConfig(cpu_seconds=0.0))
    assert result.outcome is Outcome.STOPPED
    assert {"D3", "D14"} <= fails(checks)


def test_what_cannot_be_dropped_is_refused() -> None:
    cube = bodies.cuboid("cube", 0.1, 0.1, 0.1)
    other = dataclasses.replace(cube.root, name="other")
    joint = Joint("hinge", JointKind.REVOLUTE, "cube", "other", Pose.identity(), np.array([0.0, 0.0, 1.0]), -1.0, 1.0)
    with pytest.raises(ModelError, match="has 2 bodies"):
        drop(Model("pair", (cube.root, other), (joint,)), "mujoco")
    with pytest.raises(ModelError, match="not a unit vector"):
        drop(cube, "mujoco", symmetry_axis=np.array([0.0, 0.0, 2.0]))


def lying(velocity: tuple[float, float, float], spin: tuple[float, float, float]) -> tuple[Subject, Moment]:
    """A cylinder of radius 0.03 m that lies along x, in motion."""
    subject = Subject(bodies.cylinder(), DropConfig(), np.array([0.0, 0.0, 1.0]))
    turn = Pose.from_axis_angle(np.array([0.0, 1.0, 0.0]), np.pi / 2)
    X_WB = place_on_plane(subject, turn, 0.0)
    com = X_WB.apply(subject.body.inertial.com)
    return subject, Moment(0, com, X_WB.quaternion, np.array(velocity), np.array(spin), X_WB)


MOTIONS = {
    "still": ((0, 0, 0), (0, 0, 0), True),
    "pure rolling": ((0, -0.1, 0), (0.1 / 0.03, 0, 0), True),
    "pure rolling back": ((0, 0.1, 0), (-0.1 / 0.03, 0, 0), True),
    "rolling too fast": ((0, -0.6, 0), (0.6 / 0.03, 0, 0), False),
    "spin against the roll": ((0, 0.1, 0), (0.1 / 0.03, 0, 0), False),
    "yaw in place": ((0, 0, 0), (0, 0, 500), False),
    "slow yaw": ((0, 0, 0), (0, 0, 0.5), False),
    "spin about its own axis": ((0, 0, 0), (500, 0, 0), False),
    "sliding along": ((0.19, 0, 0), (0, 0, 0), False),
    "sliding across": ((0, 0.1, 0), (0, 0, 0), False),
    "rolling with a slide along": ((0.05, -0.1, 0), (0.1 / 0.03, 0, 0), False),
    "rising": ((0, 0, 0.05), (0, 0, 0), False),
    "tilting": ((0, 0, 0), (0, 0.5, 0), False),
}


@pytest.mark.parametrize("name", MOTIONS)
def test_only_pure_rolling_is_exempt(name: str) -> None:
    velocity, spin, quiet = MOTIONS[name]
    assert is_quiet(*lying(velocity, spin)) is quiet


def test_rolling_at_constant_speed_is_no_rest() -> None:
    subject, moment = lying((0, -0.1, 0), (0.1 / 0.03, 0, 0))
    constant = [moment] * 30
    assert not slows_down(subject, constant)
    slower = [dataclasses.replace(moment, velocity=moment.velocity * s, spin=moment.spin * s) for s in (1, 0.98)]
    assert slows_down(subject, [slower[0]] * 15 + [slower[1]] * 15)
    still = dataclasses.replace(moment, velocity=np.zeros(3), spin=np.zeros(3))
    assert slows_down(subject, [moment] * 10 + [still] * 20)


@pytest.mark.parametrize(
    ("along", "yaw", "roll", "shift", "turn"),
    [
        (0.0, 0.0, 0.02, (0, 0, 0), (0, 0)),
        (0.01, 0.0, 0.0, (0.01, 0, 0), (0, 0)),
        (0.0, 0.1, 0.0, (0, 0, 0), (0, 0.1)),
        (0.0, 0.0, -0.02, (0, 0, 0), (0, 0)),
    ],
)
def test_displacement_along_the_axis_and_yaw_count(
    along: float, yaw: float, roll: float, shift: tuple[float, ...], turn: tuple[float, ...]
) -> None:
    subject, moment = lying((0, 0, 0), (0, 0, 0))
    spun = Pose.from_axis_angle(np.array([0.0, 0.0, 1.0]), yaw).compose(
        Pose.from_axis_angle(np.array([1.0, 0.0, 0.0]), roll)
    )
    # The body rolls over the corner on which it lies.
    corners = moment.X_WB.apply(subject.corners)
    pivot = corners[corners[:, 2].argmin()]
    rolled = Pose.from_axis_angle(np.array([1.0, 0.0, 0.0]), roll).rotate(moment.com - pivot)
    com = pivot + rolled + np.array([along, 0.0, 0.0])
    turned = Pose(np.zeros(3), spun.compose(moment.X_WB).quaternion)
    X_WB = Pose(com - turned.rotate(subject.body.inertial.com), turned.quaternion)
    shifts, turns = beside_rolling(subject, [moment, dataclasses.replace(moment, com=com, X_WB=X_WB)])
    np.testing.assert_allclose(shifts[-1], shift, atol=1e-7)
    np.testing.assert_allclose(turns[-1], turn, atol=1e-9)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_lying_cylinder_that_slides_or_spins_does_not_hold(engine: str) -> None:
    subject, moment = lying((0, 0, 0), (0, 0, 0))
    running = opener(engine)(subject.world(REFERENCE_MATERIAL))
    crept = {}
    for name, velocity, spin in (("slide", (0.3, 0, 0), (0, 0, 0)), ("yaw", (0, 0, 0), (0, 0, 20.0))):
        position, quaternion = moment.X_WB.position[None], moment.X_WB.quaternion[None]
        motion = np.array([velocity]), np.array([spin])
        running.set_state(State(0.0, (SUBJECT,), position, quaternion, *motion))
        crept[name] = hold(Watch(running, subject), 1.0)
    running.close()
    assert crept["slide"]["creep_position"] > subject.config.creep_limit * subject.size
    assert crept["yaw"]["creep_angle"] > subject.config.creep_angle_limit


def test_a_centre_of_mass_outside_the_hulls_is_a_failed_check() -> None:
    inertial = CUBE.root.inertial
    outside = MassProperties(inertial.mass, inertial.com + np.array([0.2, 0.0, 0.0]), inertial.inertia)
    record = drop(Model("cube", (dataclasses.replace(CUBE.root, mass_properties=outside),)), "mujoco")
    assert failing(record) == {"D14"} and not record.drops
    assert "outside its collision hulls" in record.checks[0].detail


def test_a_check_that_only_its_floor_saves_says_so() -> None:
    judge = Judge(Subject(CUBE, DropConfig()), "mujoco", floors("mujoco"))
    saved = judge.check("D6", "jitter", 2.0, "1", 1.0, floor_value=2e-6, floor_limit=3e-6, floor_unit="m")
    passed = judge.check("D6", "jitter", 0.5, "1", 1.0, floor_value=2e-6, floor_limit=3e-6, floor_unit="m")
    failed = judge.check("D6", "jitter", 2.0, "1", 1.0, floor_value=4e-6, floor_limit=3e-6, floor_unit="m")
    assert [check.verdict for check in (saved, passed, failed)] == [Verdict.PASS, Verdict.PASS, Verdict.FAIL]
    assert ["within the engine floor" in check.describe() for check in (saved, passed, failed)] == [True, False, False]


def test_a_rest_depth_that_depends_on_the_time_step_is_undecided() -> None:
    subject = Subject(CUBE, DropConfig())
    running = opener("mujoco")(subject.world(REFERENCE_MATERIAL))
    rested = simulate_drop(running, subject, plan_starts(subject, np.random.default_rng(0))[0], creep=True)
    running.close()
    judge = Judge(subject, "mujoco", floors("mujoco"))
    verdicts = []
    for depth in (rested.penetration + 0.9e-4, rested.penetration + 3e-4):
        half = dataclasses.replace(rested, penetration=depth)
        verdicts += [check.verdict for check in judge.judge([rested], [half]) if check.id == "D11"]
    assert verdicts == [Verdict.PASS, Verdict.UNDECIDED]


def test_settling_late_warns_after_a_random_start_and_fails_after_a_stable_one() -> None:
    subject = Subject(CUBE, DropConfig())
    stable, *_, random = plan_starts(subject, np.random.default_rng(0))
    judge = Judge(subject, "mujoco", floors("mujoco"))
    verdicts = []
    for start, seconds in ((stable, 4.0), (stable, 6.0), (random, 4.0), (random, 6.0), (random, 21.0)):
        late = Drop(start, Outcome.RESTED, 1e-3, 0, None, np.full(3, np.nan), settle_seconds=seconds)
        verdicts += [check.verdict for check in judge.judge_drop(late) if check.id == "D3"]
    assert verdicts == [Verdict.PASS, Verdict.FAIL, Verdict.PASS, Verdict.WARN, Verdict.FAIL]


def test_a_centre_of_mass_may_lie_beyond_the_support_by_the_rolling_friction_and_warns() -> None:
    subject = Subject(CUBE, DropConfig())
    start = plan_starts(subject, np.random.default_rng(0))[0]
    verdicts = []
    for beyond, rolling in ((5e-5, 0.0), (5e-5, 4e-5), (5e-5, 6e-5)):
        rested = Drop(start, Outcome.RESTED, 1e-3, 0, None, np.full(3, np.nan), load=1.0, support_margin=-beyond)
        checks = Judge(subject, "mujoco", floors("mujoco"), rolling).judge_drop(rested)
        verdicts += [check.verdict for check in checks if check.name == "support margin over L"]
    assert verdicts == [Verdict.FAIL, Verdict.FAIL, Verdict.WARN]


def test_an_edge_holds_by_rolling_friction_after_a_random_start_only_and_warns() -> None:
    subject = Subject(CUBE, DropConfig())
    stable, *_, random = plan_starts(subject, np.random.default_rng(0))
    beyond, radius = 5e-5, float(np.linalg.norm(subject.extents[:2]) / 2)
    turn = np.pi / 4 + beyond / radius  # the centre of mass of a cube on its edge, and then beyond it
    down = np.array([np.sin(turn), 0.0, -np.cos(turn)])
    assert subject.hull_margin(down) == pytest.approx(-beyond, rel=1e-3)
    found = []
    for start, rolling in ((random, 4e-5), (random, 6e-5), (stable, 6e-5)):
        judge = Judge(subject, "pybullet", floors("mujoco"), rolling)
        X_WB = pose_on_plane(down, np.zeros(3), radius)
        rested = Drop(start, Outcome.RESTED, 1e-3, 0, X_WB, down, com_height=radius, rest_index=0, rest_angle=turn)
        verdict = next(check.verdict for check in judge.judge_drop(rested) if check.id == "D8")
        found.append((verdict, find_rest_poses(judge, [rested])[0].balanced))
    assert found == [(Verdict.FAIL, False), (Verdict.WARN, True), (Verdict.FAIL, False)]


def test_every_step_about_the_first_contact_is_read() -> None:
    subject = Subject(CUBE, DropConfig())
    running = opener("mujoco")(subject.world(REFERENCE_MATERIAL))
    watch = Watch(running, subject)
    put_at(running, Pose.translation(0, 0, 0.1))
    watch.advance(0)
    contact = float(np.sqrt(2 * 0.1 / subject.g))
    settle(watch, contact, 3.0)
    first = int(contact / running.timestep)
    running.close()
    assert set(range(first - 1, first + subject.config.impact_steps)) <= {moment.steps for moment in watch.moments}
