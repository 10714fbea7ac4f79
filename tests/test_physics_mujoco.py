"""The MuJoCo engine against closed forms, and one test for each of its traps."""

import mujoco
import numpy as np
import pytest

from physics import truth as solids
from physics.drop_mujoco import MujocoEngine, open_mujoco
from physics.engine import GROUND, Placement, State, World
from physics.errors import EngineError
from physics.mass import integrate_mesh
from physics.materials import find_material
from physics.model import Body, Hull, Joint, JointKind, Model, Part
from physics.mujoco_spec import MujocoConfig
from physics.pose import Pose

OAK = find_material("oak")
G = 9.81


def make_model(mesh, name="thing", hulls=None, material=OAK):
    mass = integrate_mesh(mesh, density=material.density)
    hulls = [mesh] if hulls is None else hulls
    part = Part("solid", mesh, material)
    return Model(name, (Body("base", (part,), tuple(Hull(h, "solid") for h in hulls), mass),))


def open_one(model, X_WB=None, *, ground=OAK, gravity=(0.0, 0.0, -G), **options):
    world = World((Placement("thing", model, X_WB or Pose.identity()),), ground, gravity)
    return open_mujoco(world, **options)


def cube(size):
    return make_model(solids.box((size, size, size)).mesh)


def put(engine, X_WB, linear=(0, 0, 0), angular=(0, 0, 0), time=0.0):
    rows = [np.array([value], dtype=float) for value in (X_WB.position, X_WB.quaternion, linear, angular)]
    engine.set_state(State(time, ("thing",), *rows))


def tilted(angle):
    return (G * np.sin(angle), 0.0, -G * np.cos(angle))


def test_free_fall_follows_the_discrete_trajectory():
    engine = open_one(cube(0.1), Pose.translation(0, 0, 5))
    n, dt = 500, engine.timestep
    engine.step(n)
    assert engine.state().positions[0, 2] == pytest.approx(5 - G * n * dt * (n + 1) * dt / 2, rel=1e-9)
    assert engine.state().time == pytest.approx(n * dt)


def test_a_tossed_body_keeps_spin_and_its_centre_of_mass_follows_the_parabola():
    model = make_model(solids.sphere(0.05, segments=24).mesh.translated(np.array([0.03, 0.02, 0.01])))
    engine = open_one(model, ground=None)
    start = Pose.from_axis_angle(np.array([1.0, 2.0, 3.0]), 0.7, np.array([0.0, 0.0, 3.0]))
    put(engine, start, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    dt, n = engine.timestep, 200
    engine.step(n)
    end = engine.state()
    com = model.root.inertial.com
    t = n * dt
    travel = np.array([1.0 * t, 2.0 * t, 3.0 * t - G * t * (t + dt) / 2])
    # The free joint carries the origin, not the centre: an error of order dt.
    assert end.pose("thing").apply(com) == pytest.approx(start.apply(com) + travel, abs=2e-4)
    assert end.angular_velocities[0] == pytest.approx([4, 5, 6], rel=0.01)  # implicitfast damps a tumbling body


def test_set_state_and_state_are_inverse_for_a_spinning_body_with_its_centre_off_the_origin():
    engine = open_one(make_model(solids.l_bar().mesh, hulls=[solids.box().mesh]), ground=None)
    X_WB = Pose.from_axis_angle(np.array([1.0, -2.0, 0.5]), 2.1, np.array([0.3, -0.2, 1.0]))
    put(engine, X_WB, (0.1, -0.2, 0.3), (3.0, -2.0, 1.0), time=7.5)
    state = engine.state()
    assert state.time == 7.5
    assert state.pose("thing").angle_to(X_WB) < 1e-7
    assert state.positions[0] == pytest.approx(X_WB.position, abs=1e-12)
    assert state.linear_velocities[0] == pytest.approx([0.1, -0.2, 0.3], abs=1e-12)
    assert state.angular_velocities[0] == pytest.approx([3, -2, 1], abs=1e-12)


def test_state_velocity_is_the_rate_of_change_of_the_centre_of_mass():
    model = make_model(solids.l_bar().mesh, hulls=[solids.box().mesh])
    engine = open_one(model, ground=None, gravity=(0, 0, 0))
    put(engine, Pose.identity(), (0.5, 0, 0), (0, 0, 2.0))
    com = model.root.inertial.com
    before = engine.state().pose("thing").apply(com)
    engine.step(10)
    after = engine.state().pose("thing").apply(com)
    assert (after - before) / (10 * engine.timestep) == pytest.approx([0.5, 0, 0], abs=1e-4)


def test_set_state_forgets_contact_history():
    engine, fresh = (open_one(cube(0.1), Pose.translation(0, 0, 0.05)) for _ in range(2))
    engine.step(300)
    for one in (engine, fresh):
        put(one, Pose.translation(0, 0, 0.1), (0, 0, -0.3), (1, 2, 3))
        one.step(400)
    assert np.array_equal(engine.state().positions, fresh.state().positions)
    assert np.array_equal(engine.state().quaternions, fresh.state().quaternions)


@pytest.mark.parametrize("size", [0.005, 0.02, 0.1, 1.0])
def test_rest_penetration_does_not_depend_on_size(size):
    engine = open_one(cube(size), Pose.translation(0, 0, size / 2))
    engine.step(round(0.5 / engine.timestep))
    depth = -float(engine.contacts().distances.min())
    assert 1e-6 < depth < 1e-5
    assert engine.state().positions[0, 2] == pytest.approx(size / 2 - depth, abs=1e-6)
    assert engine.health() == ()


def test_contact_forces_on_a_resting_cube_carry_its_weight_upward():
    model = cube(0.1)
    engine = open_one(model, Pose.translation(0, 0, 0.05))
    engine.step(500)
    contacts = engine.contacts()
    signs = np.array([1.0 if b == "thing" else -1.0 for b in contacts.names_b])
    assert {*contacts.names_a, *contacts.names_b} == {GROUND, "thing"}
    assert (signs[:, None] * contacts.forces).sum(axis=0) == pytest.approx([0, 0, model.root.inertial.mass * G])
    assert signs[:, None] * contacts.normals == pytest.approx(np.tile([0.0, 0, 1], (len(signs), 1)), abs=1e-9)


def test_contact_forces_between_two_bodies_carry_what_lies_above():
    lower, upper = cube(0.1), cube(0.06)
    placements = (
        Placement("low", lower, Pose.translation(0, 0, 0.05)),
        Placement("high", upper, Pose.translation(0, 0, 0.13)),
    )
    engine = open_mujoco(World(placements, OAK))
    engine.step(800)
    contacts = engine.contacts()
    on = {"low": np.zeros(3), "high": np.zeros(3)}
    for a, b, force in zip(contacts.names_a, contacts.names_b, contacts.forces, strict=True):
        for name, sign in ((a, -1), (b, 1)):
            if name in on:
                on[name] += sign * force
    assert on["high"] == pytest.approx([0, 0, upper.root.inertial.mass * G], rel=1e-3, abs=1e-3)
    assert on["low"] == pytest.approx([0, 0, lower.root.inertial.mass * G], rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("excess", [-2.0, 5.0])
def test_a_cube_slips_at_the_friction_angle(excess):
    mu = OAK.sliding_friction
    angle = np.arctan(mu) + np.deg2rad(excess)
    engine = open_one(cube(0.1), Pose.translation(0, 0, 0.05))
    engine.step(200)
    engine.set_gravity(tilted(angle))
    engine.step(1000)
    speed = engine.state().linear_velocities[0, 0]
    if excess < 0:
        assert abs(speed) < 1e-3
    else:
        assert speed == pytest.approx(G * (np.sin(angle) - mu * np.cos(angle)), rel=0.15)


def test_friction_of_a_pair_is_the_larger_of_the_two():
    slippery = find_material("ptfe")
    assert slippery.sliding_friction < OAK.sliding_friction
    model = make_model(solids.box((0.1, 0.1, 0.1)).mesh, material=slippery)
    angle = np.arctan(OAK.sliding_friction) - np.deg2rad(3)
    for ground, sticks in ((OAK, True), (slippery, False)):
        engine = open_one(model, Pose.translation(0, 0, 0.05), ground=ground)
        engine.step(100)
        engine.set_gravity(tilted(angle))
        engine.step(500)
        assert bool(abs(engine.state().linear_velocities[0, 0]) < 1e-3) is sticks


def test_a_finely_faceted_cylinder_rolls_down_at_two_thirds():
    solid = solids.cylinder(0.05, 0.08, segments=256)
    model = make_model(solid.mesh)
    lying = Pose.from_axis_angle(np.array([1.0, 0, 0]), np.pi / 2, np.array([0, 0, 0.05]))
    engine = open_one(model, lying)
    engine.step(50)
    angle = np.deg2rad(10)
    engine.set_gravity(tilted(angle))
    before = engine.state().linear_velocities[0, 0]
    engine.step(500)
    gained = engine.state().linear_velocities[0, 0] - before
    rolling = OAK.rolling_friction
    expected = 2 / 3 * G * (np.sin(angle) - rolling / 0.05 * np.cos(angle))
    assert gained / 0.5 == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(("excess", "falls"), [(-1.0, False), (1.0, True)])
def test_a_tall_block_tips_at_its_angle(excess, falls):
    rough = find_material("rubber")
    model = make_model(solids.box((0.04, 0.04, 0.1)).mesh, material=rough)
    engine = open_one(model, Pose.translation(0, 0, 0.05), ground=rough)
    engine.step(200)
    angle = np.arctan(0.4) + np.deg2rad(excess)
    for share in np.linspace(0, 1, 40):
        engine.set_gravity(tilted(share * angle))
        engine.step(25)
    engine.step(1500)
    tilt = engine.state().pose("thing").angle_to(Pose.identity())
    assert (tilt > 0.5) is falls


def test_the_compiled_model_has_our_mass_properties_not_those_of_the_hulls():
    solid = solids.torus()
    model = make_model(solid.mesh, hulls=[solid.mesh])  # its hull closes the hole: 63 % heavier
    held = open_one(model).inertials()["thing"]
    ours = model.root.inertial
    assert held.mass == pytest.approx(ours.mass, rel=1e-6)
    assert held.com == pytest.approx(ours.com, abs=1e-9)
    assert held.inertia == pytest.approx(ours.inertia, rel=1e-6, abs=1e-6 * np.abs(ours.inertia).max())


def test_read_back_of_an_inertia_with_products():
    mesh = solids.l_bar().mesh.rotated(Pose.from_axis_angle(np.array([1.0, 1, 0]), 0.6).rotation)
    model = make_model(mesh, hulls=[solids.box().mesh])
    held = open_one(model).inertials()["thing"].inertia
    ours = model.root.inertial.inertia
    assert np.abs(held - ours).max() <= 1e-6 * np.abs(ours).max()


def test_wrench_acts_at_the_centre_of_mass_for_one_step_only():
    model = make_model(solids.l_bar().mesh, hulls=[solids.box().mesh])
    engine = open_one(model, ground=None, gravity=(0, 0, 0))
    mass = model.root.inertial.mass
    engine.apply_wrench("thing", np.array([0.0, 2.0, 0.0]), np.zeros(3))
    engine.step(10)
    state = engine.state()
    assert state.linear_velocities[0] == pytest.approx([0, 2.0 * engine.timestep / mass, 0], rel=1e-9)
    assert np.abs(state.angular_velocities[0]).max() < 1e-12


def test_fixed_placements_hold_objects_and_are_bodies_of_their_own():
    shelf = make_model(solids.box((0.5, 0.5, 0.02)).mesh, "shelf")
    placements = (
        Placement("shelf", shelf, Pose.translation(0, 0, 0.5), fixed=True),
        Placement("thing", cube(0.1), Pose.translation(0, 0, 0.56)),
    )
    engine = open_mujoco(World(placements, None))
    engine.step(500)
    assert engine.state().names == ("thing",)
    assert engine.state().positions[0, 2] == pytest.approx(0.56, abs=1e-5)
    contacts = engine.contacts()
    assert {*contacts.names_a, *contacts.names_b} == {"shelf", "thing"}


# ---- traps ----------------------------------------------------------------------------------------------------


def option(engine: MujocoEngine):
    return engine._model.opt


def test_sleep_and_autoreset_are_off_and_the_arena_is_set():
    engine = open_one(cube(0.1))
    assert option(engine).enableflags & mujoco.mjtEnableBit.mjENBL_SLEEP == 0
    assert option(engine).disableflags & mujoco.mjtDisableBit.mjDSBL_AUTORESET
    assert engine._model.narena < 128 * 2**20
    placements = tuple(Placement(f"thing_{i}", cube(0.05), Pose.translation(i, 0, 0.025)) for i in range(100))
    assert open_mujoco(World(placements, OAK))._model.narena < 128 * 2**20


def test_solver_options_are_those_of_a_verdict():
    engine = open_one(cube(0.1))
    assert option(engine).cone == mujoco.mjtCone.mjCONE_ELLIPTIC
    assert option(engine).integrator == mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    assert option(engine).solver == mujoco.mjtSolver.mjSOL_NEWTON
    assert (engine._model.geom_margin == 0).all()
    assert engine._model.geom_solref[:, 0].min() >= 2 * engine.timestep


def test_the_time_step_shrinks_with_small_bodies_and_with_the_scale():
    assert open_one(cube(0.1)).timestep == 1e-3
    assert open_one(cube(0.002)).timestep == pytest.approx(0.03 * np.sqrt(0.002 / G))
    assert open_one(cube(0.1), timestep_scale=0.5).timestep == 5e-4


def test_a_state_that_is_no_number_is_reported_and_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log into the working folder
    engine = open_one(cube(0.1), Pose.translation(0, 0, 1))
    rows = [np.array([[0.0, 0, 1]]), np.array([[1.0, 0, 0, 0]]), np.array([[np.nan, 0, 0]]), np.zeros((1, 3))]
    engine.set_state(State(0.0, ("thing",), *rows))
    engine.step(3)
    assert engine.health()
    assert not np.isfinite(engine.state().positions).all()
    put(engine, Pose.translation(0, 0, 1))
    assert engine.health(), "a warning counts since loading, also after a new state"


def test_contacts_that_do_not_fit_into_memory_are_reported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log into the working folder
    placements = tuple(Placement(f"thing_{i}", cube(0.05), Pose.translation(0, 0, 0.03)) for i in range(60))
    engine = open_mujoco(World(placements, OAK), config=MujocoConfig(base_memory=2**20, memory_per_geom=0))
    engine.step(1)
    assert any("FULL" in line for line in engine.health())


def test_a_full_stack_is_an_error_with_its_fix():
    placements = tuple(Placement(f"thing_{i}", cube(0.05), Pose.translation(0, 0, 0.03)) for i in range(60))
    with pytest.raises(EngineError, match="raise memory_per_geom"):
        open_mujoco(World(placements, OAK), config=MujocoConfig(base_memory=2**17, memory_per_geom=0))


def test_equal_hulls_are_stored_once():
    model = cube(0.1)
    placements = tuple(Placement(f"thing_{i}", model, Pose.translation(i, 0, 0.05)) for i in range(5))
    assert open_mujoco(World(placements, OAK))._model.nmesh == 1


def test_two_runs_give_the_same_bits():
    ends = []
    for _ in range(2):
        engine = open_one(cube(0.1), Pose.from_axis_angle(np.array([1.0, 2, 3]), 1.0, np.array([0, 0, 0.3])))
        engine.step(700)
        ends.append(engine.state())
    assert np.array_equal(ends[0].positions, ends[1].positions)
    assert np.array_equal(ends[0].quaternions, ends[1].quaternions)


def test_what_mujoco_cannot_represent_is_said():
    assert any("restitution" in text for text in MujocoEngine.limits)


def test_refusals():
    part = Part("solid", solids.box().mesh, OAK)
    with pytest.raises(EngineError, match="no hulls"):
        open_one(Model("bare", (Body("base", (part,)),)))
    with pytest.raises(EngineError, match="no mass properties"):
        open_one(Model("bare", (Body("base", (part,), (Hull(part.surface, "solid"),)),)))
    engine = open_one(cube(0.1))
    row = (np.zeros((1, 3)), np.array([[1.0, 0, 0, 0]]), np.zeros((1, 3)), np.zeros((1, 3)))
    with pytest.raises(EngineError, match="no moving body 'other'"):
        engine.set_state(State(0.0, ("other",), *row))
    with pytest.raises(EngineError, match="no moving body 'other'"):
        engine.apply_wrench("other", np.zeros(3), np.zeros(3))


# ---- trees ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(JointKind))
def test_a_tree_of_two_bodies_moves_as_its_joint_allows(kind):
    base, arm = (make_model(solids.box((0.1, 0.1, 0.1)).mesh).root for _ in range(2))
    arm = Body("arm", arm.parts, arm.hulls, arm.mass_properties)
    X_PC = Pose.from_axis_angle(np.array([0.0, 1, 0]), 0.3, np.array([0.3, 0, 0.1]))
    joint = Joint("hinge", kind, "base", "arm", X_PC, np.array([0.0, 0, 1]), -1.0, 1.0)
    model = Model("tree", (base, arm), (joint,))
    engine = open_one(model, ground=None, gravity=(0, 0, 0))
    assert engine.state().names == ("thing", "thing/arm")
    assert set(engine.inertials()) == {"thing", "thing/arm"}
    engine.apply_wrench("thing/arm", np.array([0.0, 3.0, 5.0]), np.array([0.0, 0, 0.4]))
    engine.step(200)
    state = engine.state()
    relative = state.pose("thing").inverse().compose(state.pose("thing/arm"))
    offset = X_PC.inverse().compose(relative)
    moved = {
        JointKind.FIXED: lambda: offset.angle_to(Pose.identity()) < 1e-6 and np.abs(offset.position).max() < 1e-6,
        JointKind.REVOLUTE: lambda: abs(offset.quaternion[3]) > 1e-4 and np.abs(offset.position).max() < 1e-9,
        JointKind.PRISMATIC: lambda: abs(offset.position[2]) > 1e-4 and np.abs(offset.position[:2]).max() < 1e-9,
    }
    assert moved[kind]()
    other = open_one(model, ground=None, gravity=(0, 0, 0))
    other.set_state(state)
    copied = other.state()
    for field in ("positions", "quaternions", "linear_velocities", "angular_velocities"):
        assert getattr(copied, field) == pytest.approx(getattr(state, field), abs=1e-8), field
