"""Closed forms of contact, held against an engine at any size: what stands, slides, rolls, rocks, spins and bounces.

The engines are judged by them (`scenegen selftest`) under the settings of assets and scenes. A law is a number
that the engine shows, the number that mechanics gives, and the difference that is allowed between them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from physics import truth
from physics.drop_mujoco import open_mujoco
from physics.drop_pybullet import SCENE, PybulletConfig, open_pybullet
from physics.engine import GRAVITY, GROUND, Engine, Placement, State, World
from physics.floors import REFERENCE_MATERIAL
from physics.mass import integrate_mesh
from physics.materials import Material, sized_friction
from physics.mesh import Mesh
from physics.model import Body, Hull, Model, Part
from physics.mujoco_spec import MujocoConfig, contact_settings
from physics.pose import Pose
from physics.stable_poses import stable_poses

G = -GRAVITY[2]
"""Standard gravity [m/s^2]."""
ENGINES = {
    "mujoco": open_mujoco,
    "pybullet": open_pybullet,
    "pybullet_scene": partial(open_pybullet, config=SCENE),
}
"""The engines that are held against the laws; PyBullet under the settings for assets and under those for scenes."""
SMOOTH = replace(REFERENCE_MATERIAL, name="smooth", torsional_friction=0.0, rolling_friction=0.0)
"""Surfaces that do not brake what rolls and spins."""
ROUGH = replace(SMOOTH, name="rough", sliding_friction=2.0)
"""Surfaces on which blocks tip before they slide."""
FACETS = 720
"""Sides of what rolls [1]: each facet takes some of its energy, more where contacts are inelastic."""
FRICTION_ERROR = 0.03
"""Error of friction that contacts which chatter may show, as in D10 [1]."""
TIP_ERROR = {"pybullet_scene": 2.0}
"""Error of the angle at which a body tips, where it is not 1 degree [deg]. Bullet keeps four points of a contact: a
round foot is a quadrangle to it, which one is chance, and with it whether the body tips early."""
MOST_MASS = 40.0
"""Mass of what spins down, at most [kg]; see `physics.drop_pybullet.MOST_PUSH`. The law does not depend on it."""
TIP_STEP = math.radians(0.25)
"""How finely the tipping angle is looked for [rad]."""


@dataclass(frozen=True)
class Measurement:
    """One law in one engine at one size."""

    value: float
    """What the engine shows; NaN where it did not do what the law is about."""
    expected: float
    """What mechanics gives."""
    tolerance: float
    """Largest difference that is right."""
    unit: str

    @property
    def holds(self) -> bool:
        """Whether the engine is right."""
        return bool(abs(self.value - self.expected) <= self.tolerance)


@dataclass(frozen=True)
class Law:
    """A closed form."""

    name: str
    formula: str
    measure: Callable[[str, float], Measurement]
    """Takes the name of an engine and a length of the body [m], its largest extent or its side."""
    engines: tuple[str, ...] = tuple(ENGINES)
    """Engines that can represent it."""


def block_tips(engine: str, size: float) -> Measurement:
    """A block of 0.4 x 0.4 x 1 tips where its centre of mass passes its edge."""
    solid = truth.box((0.4, 0.4, 1.0)).sized(size)
    return _tips(engine, solid, size / 2, math.atan(0.4))


def cylinder_tips(engine: str, size: float) -> Measurement:
    """A standing prism of n sides tips over one of its sides."""
    solid = truth.cylinder(0.2, 1.0).sized(size)
    return _tips(engine, solid, 0.0, math.atan(0.4 * math.cos(math.pi / 64)), turned=math.pi / 64)


def cone_tips(engine: str, size: float) -> Measurement:
    """A standing cone has its centre of mass at a quarter of its height."""
    solid = truth.cone(0.2, 1.0).sized(size)
    return _tips(engine, solid, 0.0, math.atan(0.8 * math.cos(math.pi / 64)), turned=math.pi / 64)


def cube_slides(engine: str, size: float) -> Measurement:
    """A cube slides by gravity less friction."""
    friction = REFERENCE_MATERIAL.sliding_friction
    angle = math.atan(friction) + math.radians(8)
    opened = _open(engine, _model(truth.box((size, size, size)).mesh, SMOOTH), Pose.translation(0, 0, size / 2), SMOOTH)
    expected = G * (math.sin(angle) - friction * math.cos(angle))
    return Measurement(_accelerates(opened, angle, size), expected, FRICTION_ERROR * G * math.cos(angle), "m/s^2")


def cube_sticks(engine: str, size: float) -> Measurement:
    """Below its angle of friction a cube does not accelerate."""
    angle = math.atan(REFERENCE_MATERIAL.sliding_friction) - math.radians(2)
    opened = _open(engine, _model(truth.box((size, size, size)).mesh, SMOOTH), Pose.translation(0, 0, size / 2), SMOOTH)
    return Measurement(_accelerates(opened, angle, size), 0.0, 1e-3 * G, "m/s^2")


def sphere_rolls(engine: str, size: float) -> Measurement:
    """A ball rolls at 5/7 of what would slide."""
    opened = _open(engine, _model(truth.sphere(size / 2, 96).mesh, SMOOTH), Pose.translation(0, 0, size / 2), SMOOTH)
    angle = math.radians(20)
    expected = 5 / 7 * G * math.sin(angle)
    return Measurement(_accelerates(opened, angle, size), expected, 0.1 * expected, "m/s^2")


def cylinder_rolls(engine: str, size: float) -> Measurement:
    """A cylinder rolls at 2/3 of what would slide."""
    mesh = truth.cylinder(size / 2, 0.8 * size, FACETS).mesh
    lying = Pose.from_axis_angle(np.array([1.0, 0, 0]), math.pi / 2, np.array([0, 0.4 * size, size / 2]))
    angle = math.radians(20)
    expected = 2 / 3 * G * math.sin(angle)
    measured = _accelerates(_open(engine, _model(mesh, SMOOTH), lying, SMOOTH), angle, size)
    return Measurement(measured, expected, 0.1 * expected, "m/s^2")


def half_cylinder_rocks(engine: str, size: float) -> Measurement:
    """A half cylinder rocks on its round side at omega^2 = g d / (I / m + (r - d)^2), d = 4 r / (3 pi)."""
    radius, lean = size / 2, math.radians(8)
    distance = 4 * radius / (3 * math.pi)
    gyration = radius**2 / 2 - distance**2
    expected = math.sqrt(G * distance / (gyration + (radius - distance) ** 2))
    angles = np.linspace(math.pi, 2 * math.pi, FACETS + 1)
    outline = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    caps = [(0, i, i + 1) for i in range(1, FACETS)]
    mesh = truth.extrude(outline, caps, -size / 2, size / 2)
    upright = Pose.from_axis_angle(np.array([1.0, 0, 0]), math.pi / 2)
    X_WB = Pose.from_axis_angle(np.array([0.0, 1, 0]), lean, np.array([0, 0, radius])).compose(upright)
    opened = _open(engine, _model(mesh, SMOOTH), X_WB, SMOOTH)
    times, leans = [], []
    try:
        for _ in range(_steps(opened, math.pi / expected)):
            opened.step()
            state = opened.state()
            times.append(state.time)
            leans.append(float(state.pose("thing").rotate(np.array([0.0, 1, 0]))[0]))
    finally:
        opened.close()
    crossings = _crossings(np.array(times), np.array(leans))
    # From rest to the middle is a quarter of a period.
    value = math.pi / 2 / float(crossings[0]) if len(crossings) else math.nan
    return Measurement(value, expected, 0.12 * expected, "rad/s")


def sphere_spins_down(engine: str, size: float) -> Measurement:
    """A spinning ball is braked by the torsional friction of its contact."""
    friction = sized_friction(REFERENCE_MATERIAL, size).torsional_friction
    ball = truth.sphere(size / 2, 48).mesh
    density = min(SMOOTH.density, MOST_MASS / integrate_mesh(ball, density=1.0).mass)
    stuff = replace(SMOOTH, torsional_friction=friction, density=density)
    model = _model(ball, stuff)
    opened = _open(engine, model, Pose.translation(0, 0, size / 2), stuff)
    inertial = model.root.inertial
    expected = -friction * inertial.mass * G / float(inertial.inertia[2, 2])
    tau = math.sqrt(size / G)
    try:
        opened.step(_steps(opened, 2 * tau))
        state = opened.state()
        _put(opened, state.pose("thing"), spin=(0.0, 0.0, 4 / tau))
        opened.step(_steps(opened, 0.2 * tau))
        before = opened.state()
        opened.step(_steps(opened, tau))
        after = opened.state()
    finally:
        opened.close()
    value = float(after.angular_velocities[0, 2] - before.angular_velocities[0, 2]) / (after.time - before.time)
    return Measurement(value, expected, 0.05 * abs(expected), "rad/s^2")


def tower_carries(engine: str, size: float) -> Measurement:
    """Every interface of a tower of five cubes carries the weight above it: the worst relative error."""
    side, count = size, 5
    model = _model(truth.box((side, side, side)).mesh, REFERENCE_MATERIAL)
    placements = tuple(Placement(f"cube{k}", model, Pose.translation(0, 0, side * (k + 0.5))) for k in range(count))
    opened = ENGINES[engine](World(placements, REFERENCE_MATERIAL))
    carried = np.zeros(count)
    try:
        opened.step(_steps(opened, 20 * math.sqrt(size / G) + 0.3))
        looks = 100
        for _ in range(looks):
            opened.step()
            contacts = opened.contacts()
            for a, b, force in zip(contacts.names_a, contacts.names_b, contacts.forces, strict=True):
                upper = max(-1 if name == GROUND else int(name.removeprefix("cube")) for name in (a, b))
                carried[upper] += abs(float(force[2])) / looks
    finally:
        opened.close()
    weights = model.root.inertial.mass * G * np.arange(count, 0, -1)
    return Measurement(float(np.abs(carried / weights - 1).max()), 0.0, 0.03, "1")


def cube_sinks_in(engine: str, size: float) -> Measurement:
    """A cube on four corners sinks in by the softness of the contact alone (MuJoCo manual, Computation: Constraints).

    The reference acceleration k d r of the contact spring balances the weight through the regularisation (1 - d) / d:
    r = g (1 - d) (d_max t zeta / d)^2 / 4, whatever the mass.
    """
    config = MujocoConfig()
    opened = _open(engine, _model(truth.box((size, size, size)).mesh, SMOOTH), Pose.translation(0, 0, size / 2), SMOOTH)
    low, high = config.contact_impedance
    # The spring of the ground counts too, by its weight `solmix`.
    own, ground = (contact_settings(SMOOTH, config, size=extent) for extent in (size, math.inf))
    mixed = own["solmix"] * own["solref"][0] + ground["solmix"] * ground["solref"][0]
    time = max(mixed / (own["solmix"] + ground["solmix"]), 2 * opened.timestep)
    expected = G * (1 - low) * (high * time * config.contact_damping / low) ** 2 / 4
    try:
        opened.step(_steps(opened, 0.5))
        value = size / 2 - float(opened.state().positions[0, 2])
    finally:
        opened.close()
    return Measurement(value, expected, 0.1 * expected, "m")


def sphere_bounces(engine: str, size: float) -> Measurement:
    """A ball leaves the ground at e times the speed at which it came: it rises to e^2 of its height."""
    restitution = 0.6
    stuff = replace(SMOOTH, restitution=restitution)
    height = 3 * size
    start = Pose.translation(0, 0, size / 2 + height)
    world = World((Placement("thing", _model(truth.sphere(size / 2, 32).mesh, stuff), start),), stuff)
    opened = open_pybullet(world, config=PybulletConfig(restitution=True))
    try:
        speeds = []
        for _ in range(_steps(opened, 1.5 * math.sqrt(2 * height / G))):
            opened.step()
            speeds.append(float(opened.state().linear_velocities[0, 2]))
    finally:
        opened.close()
    # Bullet pushes out a fifth of what sank in within one step, which adds to the rebound.
    return Measurement(-max(speeds) / min(speeds), restitution, 0.1, "1")


def cuboid_lands(engine: str, size: float) -> Measurement:
    """A cuboid comes to rest on a side as often as that side is seen from its centre of mass: the worst error."""
    del engine
    extents = size * np.array([1.0, 0.6, 0.3])
    found = [pose.probability for pose in stable_poses(_model(truth.box(tuple(extents)).mesh, SMOOTH).root)]
    expected = []
    for a, b, h in (extents, extents[[1, 2, 0]], extents[[2, 0, 1]]):
        angle = 4 * math.asin(a * b / math.sqrt((a**2 + h**2) * (b**2 + h**2)))
        expected += 2 * [angle / (4 * math.pi)]
    if len(found) != len(expected):
        return Measurement(math.nan, 0.0, 1e-9, "1")
    return Measurement(float(np.abs(np.sort(found) - np.sort(expected)).max()), 0.0, 1e-9, "1")


LAWS = (
    Law("cuboid lands", "4 asin(a b / sqrt((a^2 + h^2) (b^2 + h^2))) / 4 pi", cuboid_lands, ("geometry",)),
    Law("block tips", "atan(w / h)", block_tips),
    Law("cylinder tips", "atan(2 r cos(pi / n) / h)", cylinder_tips),
    Law("cone tips", "atan(4 r cos(pi / n) / h)", cone_tips),
    Law("cube slides", "g (sin t - mu cos t)", cube_slides),
    Law("cube sticks", "0 below atan(mu)", cube_sticks),
    Law("sphere rolls", "5/7 g sin t", sphere_rolls),
    Law("cylinder rolls", "2/3 g sin t", cylinder_rolls),
    Law("half cylinder rocks", "omega^2 = g d / (I / m + (r - d)^2)", half_cylinder_rocks),
    Law("sphere spins down", "mu_t m g / I", sphere_spins_down),
    Law("tower carries", "each interface the weight above", tower_carries),
    Law("cube sinks in", "g (1 - d) (d_max t zeta / d)^2 / 4", cube_sinks_in, ("mujoco",)),
    Law("sphere bounces", "speed after = e times speed before", sphere_bounces, ("pybullet",)),
)
"""All laws. Poses are geometry, without an engine; MuJoCo has no coefficient of restitution, and the depth in Bullet is
its slop, not a spring."""


def _tips(engine: str, solid: truth.Solid, height: float, expected: float, *, turned: float = 0.0) -> Measurement:
    """Return the smallest tilt of the plane at which a standing solid falls, from 2 degrees below to 2 above."""
    size = float(solid.mesh.extents.max())
    upright = Pose.from_axis_angle(np.array([0.0, 0, 1]), turned, np.array([0.0, 0, height]))
    model = _model(solid.mesh, ROUGH)
    angles = expected + np.arange(-math.radians(2), math.radians(2), TIP_STEP)
    low, high = -1, len(angles)
    while high - low > 1:
        middle = (low + high) // 2
        falls = _falls(_open(engine, model, upright, ROUGH), float(angles[middle]), size)
        low, high = (low, middle) if falls else (middle, high)
    value = float(angles[high]) - TIP_STEP / 2 if 0 < high < len(angles) else math.nan
    return Measurement(math.degrees(value), math.degrees(expected), TIP_ERROR.get(engine, 1.0), "deg")


def _falls(opened: Engine, angle: float, size: float) -> bool:
    """Tilt gravity slowly, and return whether the body has turned by 12 degrees and more a while later."""
    tau = math.sqrt(size / G)
    try:
        opened.step(_steps(opened, 5 * tau))
        start = opened.state().pose("thing")
        for share in np.linspace(0.5, 1, 40):
            opened.set_gravity(_tilted(share * angle))
            opened.step(_steps(opened, 0.5 * tau))
        opened.step(_steps(opened, 20 * tau))
        return opened.state().pose("thing").angle_to(start) > math.radians(12)
    finally:
        opened.close()


def _accelerates(opened: Engine, angle: float, size: float) -> float:
    """Return the acceleration down an incline [m/s^2], over a time in which the body moves a few of its lengths."""
    tau = math.sqrt(size / G)
    try:
        opened.step(_steps(opened, 3 * tau))
        opened.set_gravity(_tilted(angle))
        opened.step(_steps(opened, 0.5 * tau))
        before = opened.state()
        opened.step(_steps(opened, 4 * tau))
        after = opened.state()
    finally:
        opened.close()
    return float(after.linear_velocities[0, 0] - before.linear_velocities[0, 0]) / (after.time - before.time)


def _crossings(times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return when a sampled signal passes through zero [s], between samples by a straight line."""
    at = np.nonzero(values[:-1] * values[1:] < 0)[0]
    share = values[at] / (values[at] - values[at + 1])
    return times[at] + share * (times[at + 1] - times[at])


def _model(mesh: Mesh, stuff: Material) -> Model:
    inertial = integrate_mesh(mesh, density=stuff.density)
    return Model("thing", (Body("thing", (Part("solid", mesh, stuff),), (Hull(mesh, "solid"),), inertial),))


def _open(engine: str, model: Model, X_WB: Pose, ground: Material) -> Engine:
    return ENGINES[engine](World((Placement("thing", model, X_WB),), ground))


def _steps(opened: Engine, seconds: float) -> int:
    return max(int(seconds / opened.timestep), 1)


def _put(opened: Engine, X_WB: Pose, *, spin: Sequence[float]) -> None:
    rows = (X_WB.position, X_WB.quaternion, np.zeros(3), np.asarray(spin, dtype=np.float64))
    opened.set_state(State(0.0, ("thing",), *(row[None] for row in rows)))


def _tilted(angle: float) -> tuple[float, float, float]:
    return (G * math.sin(angle), 0.0, -G * math.cos(angle))
