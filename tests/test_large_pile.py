"""Piles: poured in layers, verified in both engines, complete and repeatable; refused where they cannot be."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from large_scene import compose, require, write_assets
from scene_assets import plain_assets

from physics.check import Check, Verdict
from physics.engine import Placement, World
from physics.errors import EngineError
from physics.materials import find_material
from physics.mujoco_hold import HeldMujoco, open_held
from physics.pose import Pose
from scenegen.config import read_config
from scenegen.errors import ConfigError, SceneError
from scenegen.large import component, heap_hold, heap_rest
from scenegen.large.component import ComponentRequest, HeldComponent, hold_component
from scenegen.large.demand import Demand
from scenegen.large.heap import HeapConfig, Surface, come_to_rest, order_along, pour_heap
from scenegen.large.heap_hold import HeldHeap, hold_heap
from scenegen.large.heap_rest import HeapRestConfig, rest_half_way
from scenegen.large.hold import HoldConfig
from scenegen.large.layouts import plan_floor
from scenegen.large.options import MixConfig, PileConfig
from scenegen.large.pile import MOST_PILED
from scenegen.large.pool import read_asset, shell_points, shell_volume
from scenegen.large.pour import draw_load, pour
from scenegen.large.publish import PublishLargeConfig, publish_large
from scenegen.large.ties import find_ties
from scenegen.large.witness import verify_in_both
from scenegen.pipeline.stage import Rejection
from scenegen.scenes.load import load_scene
from scenegen.scenes.publish import PublishedScene, scene_asset
from scenegen.scenes.scene import SceneObject, make_world
from scenegen.scenes.supports import BinSize, Region, make_bin
from scenegen.scenes.verify import SceneCheckConfig, failing_objects, watch_poses

DEMAND = Demand(0.03, 0.0015, 0.6)
OPTIONS = PileConfig(length=1.0, width=0.5, depth=0.3, mix=MixConfig(largest_poured=0.13))
OBJECTS = 30
REGION = Region(np.array([0.0, 0.0, 0.01]), np.array([0.2, 0.1]), np.inf)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("pile")


@pytest.fixture(scope="module")
def folders(root):
    return write_assets(root)


@functools.cache
def assets():
    return tuple(scene_asset(asset, asset.model.name) for asset in plain_assets())


def pit():
    size = BinSize(0.4, 0.2, 0.2, 0.01)
    return Placement("pit", make_bin(size, find_material("plywood")).model, Pose.identity(), fixed=True)


def draw(count):
    return [SceneObject(f"o_{number:02d}", assets()[number % 4], Pose.identity()) for number in range(count)]


def block(name, *position):
    return Placement(name, assets()[1].model, Pose.translation(*position))  # a cube of 50 mm


# ---- bodies that are held -------------------------------------------------------------------------------------


def test_what_is_held_stays_and_carries_and_what_is_left_out_meets_nothing():
    world = World((block("low", 0, 0, 0.3), block("high", 0, 0, 0.4), block("ghost", 0, 0, 0.31)), None)
    engine = open_held(world)
    engine.arrange(free=["high"], held=["low"])
    for _ in range(100):
        engine.step(5)
    state = engine.state()
    assert np.array_equal(state.pose("low").position, [0, 0, 0.3])
    assert np.array_equal(state.pose("ghost").position, [0, 0, 0.31])
    assert state.pose("high").position[2] == pytest.approx(0.35, abs=2e-4)  # on what is held, through what is left out
    assert (engine.speeds(["high", "low"]) < 1e-3).all()
    assert engine.touching(["high"]) == {"low"} and engine.touching(["ghost"]) == set()
    engine.arrange(free=["high", "low"], held=())
    engine.step(round(0.2 / engine.timestep))
    fallen = 9.81 * 0.2 * (0.2 + engine.timestep) / 2  # of a semi-implicit step
    assert engine.state().pose("low").position[2] == pytest.approx(0.3 - fallen, abs=1e-4)
    engine.close()


def test_a_free_body_moves_as_in_a_model_of_its_own():
    """Held bodies far away change nothing, and freedom regained is full freedom."""
    alone, crowded = (
        open_held(World((block("a", 0, 0, 0.06), *more), find_material("concrete")))
        for more in ((), (block("b", 1, 0, 0.5), block("c", 2, 0, 0.5)))
    )
    crowded.arrange(free=["b"], held=["a", "c"])
    crowded.arrange(free=["a"], held=["b", "c"])
    for engine in (alone, crowded):
        engine.step(200)
    a, b = (engine.state().pose("a").position for engine in (alone, crowded))
    assert np.allclose(a, b, atol=1e-6)
    alone.close()
    crowded.close()


# ---- pouring --------------------------------------------------------------------------------------------------


def test_a_surface_rises_to_what_is_added_and_only_there():
    surface = Surface(REGION, 0.01)
    surface.add(SceneObject("block", assets()[1], Pose.translation(0.1, 0.0, 0.035)))
    assert surface.under(np.array([0.09, -0.01]), np.array([0.11, 0.01])) == pytest.approx(0.06)
    assert surface.under(np.array([-0.19, -0.09]), np.array([-0.01, 0.09])) == pytest.approx(0.01)


def test_a_heap_rests_in_its_pit_and_repeats():
    def run():
        config = HeapConfig()
        return pour_heap([], draw(16), pit(), REGION, find_material("concrete"), config, np.random.default_rng(3))

    heap, again = run(), run()
    assert not heap.lost and heap.layers > 1 and set(heap.poses) == {one.name for one in draw(16)}
    for one in draw(16):
        points = heap.poses[one.name].apply(shell_points(one.asset))
        assert points[:, 2].min() > 0.01 - 1e-3 and (np.abs(points[:, :2]) < REGION.half + 1e-3).all()
        assert np.array_equal(heap.poses[one.name].position, again.poses[one.name].position)


def lying_and_falling():
    """Blocks that lie on the floor of the pit, and one that falls onto the edge of the first of them."""
    places = [(0.12, 0.05), (0.12, -0.05), (-0.12, 0.05), (-0.12, -0.05)]
    lying = [SceneObject(f"low_{n}", assets()[1], Pose.translation(x, y, 0.035)) for n, (x, y) in enumerate(places)]
    return [*lying, SceneObject("falling", assets()[1], Pose.translation(0.092, 0.05, 0.09))]


def test_what_still_moves_comes_to_rest_with_its_neighbours_while_all_else_is_held(monkeypatch):
    arranged = []

    def watched(engine, *, free, held):
        arranged.append((set(free), set(held)))
        return arrange(engine, free=free, held=held)

    arrange = HeldMujoco.arrange
    monkeypatch.setattr(HeldMujoco, "arrange", watched)
    blocks = lying_and_falling()
    names = {one.name for one in blocks}
    heap = come_to_rest(blocks, pit(), REGION, find_material("concrete"), HeapConfig())
    assert not heap.lost
    assert all(free | held == names and not free & held for free, held in arranged)
    calmed = [free for free, held in arranged if held]
    assert {"falling"} in calmed or {"falling", "low_0"} in calmed
    assert any("low_0" in free for free in calmed)  # what it hits is free
    assert not any(free & {"low_1", "low_2", "low_3"} for free in calmed)
    assert arranged[-1] == (names, set())  # and all are let go in the end
    for one in blocks[1:4]:
        assert np.linalg.norm(heap.poses[one.name].position - one.X_WB.position) < 1e-4


def test_what_moves_on_and_on_is_lost_by_name():
    """No block is ever as still as this asks: each is named, after one try."""
    restless = replace(HeapConfig().rest, quiet_speed=1e-15, quiet_spin=1e-15)
    config = HeapConfig(rest=restless, calm=0.2)
    heap = come_to_rest(lying_and_falling(), pit(), REGION, find_material("concrete"), config)
    assert "falling" in heap.lost and "still moves among its neighbours" in heap.lost["falling"]
    assert heap.seconds == pytest.approx(restless.longest + config.calm, abs=0.03) and len(heap.poses) == 5


def test_a_heap_that_bursts_is_an_error_of_the_engine(monkeypatch):
    step = HeldMujoco.step

    def burst(engine, count=1):
        step(engine, count)
        engine._data.qpos[0] = np.nan

    monkeypatch.setattr(HeldMujoco, "step", burst)
    with pytest.raises(EngineError, match="burst"):
        come_to_rest(lying_and_falling(), pit(), REGION, find_material("concrete"), HeapConfig())


def test_a_heap_is_ordered_along_its_longer_side():
    placed = [one.at(Pose.translation(0.1 - 0.01 * number, 0.0, 0.1)) for number, one in enumerate(draw(6))]
    assert [one.name for one in order_along(placed, REGION)] == [f"o_{number:02d}" for number in reversed(range(6))]


def test_an_object_larger_than_the_pit_is_refused_by_name():
    narrow = Region(REGION.centre, np.array([0.03, 0.02]), np.inf)
    with pytest.raises(SceneError, match=r"brick .* does not fit above a region"):
        pour_heap([], draw(1), pit(), narrow, find_material("concrete"), HeapConfig(), np.random.default_rng(0))


# ---- where both engines let it rest ----------------------------------------------------------------------------


def rest(objects):
    return rest_half_way(objects, [pit()], find_material("concrete"), HeapRestConfig(), SceneCheckConfig())


def test_a_heap_rests_half_way_between_its_rests_in_the_engines(monkeypatch):
    ends = {}

    def watched(engine, seconds, interval):
        seen = watch_poses(engine, seconds, interval)
        ends[engine.name] = seen[-1]
        return seen

    monkeypatch.setattr(heap_rest, "watch_poses", watched)
    blocks = lying_and_falling()[:4]
    blocks.append(SceneObject("on_top", assets()[1], Pose.translation(0.12, 0.05, 0.0851)))
    rested = rest(blocks)
    assert [one.name for one in rested] == [one.name for one in blocks]
    for one in rested:
        a, b = (ends[engine][one.name] for engine in ("pybullet", "mujoco"))
        assert np.allclose(one.X_WB.position, (a.position + b.position) / 2, atol=1e-12)


def test_what_falls_further_comes_to_rest():
    (fallen,) = [one for one in rest(lying_and_falling()) if one.name == "falling"]
    assert fallen.X_WB.position[2] < 0.07


def hold(objects, wanted, lost=None):
    job = replace(plan_floor(OPTIONS, wanted, DEMAND, packing=0.4).cells[0].jobs[0], region=REGION, pour_height=0.3)
    return hold_heap(objects, lost or {}, job, [pit()], HoldConfig("", {}))


def test_what_never_comes_to_rest_is_taken_out_and_nothing_else():
    """One block falls from 150 m, longer than a heap is given."""
    high = SceneObject("high", assets()[1], Pose.translation(0.05, 0.0, 150.0))
    held = hold([*lying_and_falling()[:4], high], 4)
    assert held.evidence is not None and held.taken.keys() == {"high"} and "sticks out" in held.taken["high"]


def test_both_engines_say_at_once_what_does_not_hold():
    objects = lying_and_falling()
    world = make_world([pit()], objects, find_material("concrete"))
    first = verify_in_both(world, objects, SceneCheckConfig())
    both = verify_in_both(world, objects, SceneCheckConfig(), until_refused=False)
    assert {check.engine for check in first.refused} == {"mujoco"}
    assert {check.engine for check in both.refused} == {"mujoco", "pybullet"}
    assert "falling" in failing_objects(both.refused)


def test_what_is_wedged_is_taken_out_before_an_engine_throws_it_out():
    """Of two the one that reaches higher: the other may carry something."""
    wedged = [
        SceneObject(f"b_{n}", assets()[1], Pose.translation(0.0493 * n, 0.0, 0.035 + 0.002 * n)) for n in range(2)
    ]
    held = hold([*lying_and_falling()[:4], *wedged], 5)
    assert held.evidence is not None and {one.name for one in held.objects} == {"b_0", *(f"low_{n}" for n in range(4))}
    assert held.taken.keys() == {"b_1"} and "FAIL S1" in held.taken["b_1"]
    few = hold([*lying_and_falling()[:4], *wedged], 6)
    assert few.evidence is None and few.taken == held.taken and len(few.objects) == 5


def test_what_is_lost_already_is_not_judged():
    held = hold(lying_and_falling(), 4, {"falling": "sticks out"})
    assert held.evidence is not None and held.taken == {"falling": "sticks out"} and len(held.objects) == 4


def test_of_what_is_too_much_that_goes_which_the_rest_misses_least():
    """A block of a tower is tied to others, one by itself is not; nothing else moves."""
    blocks = [*tower(2), *lying_and_falling()[:4]]
    held = hold(blocks, 4)
    assert held.evidence is not None and not held.evidence.refused and not held.taken
    assert len(held.evidence.swept) == 4
    places = {one.name: one.X_WB.position for one in held.objects}
    assert {"t_0", "t_1"} < places.keys()
    assert all(np.allclose(one.X_WB.position, places.get(one.name, one.X_WB.position), atol=1e-4) for one in blocks)


def refuse_once(monkeypatch, name, wanted):
    """Let the first verdict on so many objects refuse one; return where the objects of each such verdict lay."""
    judged = []

    def verify(world, objects, config, **options):
        witness = verify_in_both(world, objects, config, **options)
        if not wanted(len(objects)):
            return witness
        judged.append({one.name: one.X_WB.position for one in objects})
        if len(judged) > 1:
            return witness
        return replace(witness, checks=(*witness.checks, Check("S2", "drift", 1.0, "m", 0.001, body=name)))

    monkeypatch.setattr(heap_hold, "verify_in_both", verify)
    return judged


def tower(count):
    return [SceneObject(f"t_{n}", assets()[1], Pose.translation(0.0, 0.0, 0.035 + 0.05005 * n)) for n in range(count)]


def test_what_holds_others_up_or_down_is_tied_to_them():
    """Contacts of a tower carry two weights and one; what lies by itself is tied to nothing."""
    blocks = [*tower(3), *lying_and_falling()[:4]]
    ties = find_ties(make_world([pit()], blocks, find_material("concrete")), blocks)
    assert [ties[f"t_{n}"] for n in range(3)] == pytest.approx([2, 3, 1], abs=0.05)
    assert not any(ties[one.name] for one in blocks[3:])


@pytest.mark.parametrize("height", [2, 5])
def test_what_fails_is_taken_out_and_what_lay_on_it_comes_down(monkeypatch, height):
    """The lowest block of a tower is refused; what lies elsewhere stays where it was."""
    judged = refuse_once(monkeypatch, "t_0", lambda count: count > height)
    held = hold([*lying_and_falling()[:4], *tower(height)], height + 3)
    first, second = judged
    assert held.evidence is not None and held.taken.keys() == first.keys() - second.keys() == {"t_0"}
    assert "FAIL S2 drift" in held.taken["t_0"]
    for name, place in second.items():
        if name.startswith("t_"):
            assert first[name][2] - place[2] == pytest.approx(0.05, abs=1e-3)
        else:
            assert np.allclose(first[name], place, atol=1e-5)


def test_a_heap_of_which_nobody_can_be_named_is_not_held(monkeypatch):
    def refused(world, objects, config, **options):
        witness = verify_in_both(world, objects, config, **options)
        return replace(witness, checks=(*witness.checks, Check("S5", "engine warnings", 1.0, "1", 0.0)))

    monkeypatch.setattr(heap_hold, "verify_in_both", refused)
    for wanted in (3, 4):
        held = hold(lying_and_falling()[:4], wanted)
        assert held.evidence is None and len(held.taken) == 4 and not held.objects


def test_a_state_that_is_no_number_is_an_error(monkeypatch):
    monkeypatch.setattr(heap_rest, "watch_poses", lambda *_: [{}] * 9)
    with pytest.raises(EngineError, match="burst"):
        rest(lying_and_falling())


# ---- plans ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objects", [1, 30, 137, MOST_PILED])
@pytest.mark.parametrize("options", [PileConfig(), PileConfig(length=40.0), PileConfig(length=30.0, width=2.0)])
def test_a_pit_has_room_for_exactly_the_objects(options, objects):
    floor = plan_floor(options, objects, DEMAND, packing=0.4)
    (job,) = floor.cells[0].jobs
    assert floor.objects == job.poured == objects and job.layered
    assert objects * DEMAND.volume <= job.pour_room and job.pour_height == options.depth


@pytest.mark.parametrize(
    ("options", "objects", "words"),
    [
        (PileConfig(), MOST_PILED + 1, f"at most {MOST_PILED}"),
        (PileConfig(length=1.0, width=0.5), 60, "ask for at most 53"),
        (PileConfig(length=1.0, width=0.5, depth=0.1), 60, "ask for at most 13"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(options, objects, words):
    with pytest.raises(SceneError, match=words):
        plan_floor(options, objects, DEMAND, packing=0.4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("{depth: 0}", "depth of the pit is 0"),
        ("{length: -1}", "length of the pit is -1"),
        ("{aspect: 0.5}", "aspect is 0.5"),
        ("{material: plywod}", "plywod"),
        ("{deep: 1}", "deep"),
    ],
)
def test_bad_options_are_refused_before_anything_is_made(options, words):
    scene = f"scenes: [{{name: heap, layout: pile, objects: 50, options: {options}}}]"
    with pytest.raises(ConfigError, match=words):
        read_config(f"name: x\nobjects: [{{families: all, count: 1}}]\n{scene}")


def test_too_many_are_refused_before_anything_is_made():
    scene = f"scenes: [{{name: heap, layout: pile, objects: {MOST_PILED + 1}}}]"
    with pytest.raises(ConfigError, match="tote_grid"):
        read_config(f"name: x\nobjects: [{{families: all, count: 1}}]\n{scene}")


def test_a_pit_too_small_for_what_is_drawn_is_refused(root, folders):
    small = PileConfig(length=0.3, width=0.3, depth=0.1, mix=OPTIONS.mix)
    refused = compose(root, folders, 60, options=small, layout="pile")
    assert isinstance(refused, Rejection) and "ask for at most" in refused.message


# ---- a whole pile ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scene(root, folders):
    return require(compose(root, folders, OBJECTS, options=OPTIONS, layout="pile"))


def test_a_pile_is_one_component_with_every_object_in_it(root, scene):
    assert len(scene.members) == len({member.name for member in scene.members}) == OBJECTS
    assert scene.counts["components"] == 1 and scene.counts["in_components"] == OBJECTS
    volume = sum(shell_volume(read_asset(str(root), member.folder)) for member in scene.members)
    (fixture,) = scene.fixtures
    inner = np.ptp(fixture.bounds(scene.models), axis=0) - np.array([0.04, 0.04, 0.02])
    assert volume <= 0.4 * np.prod(inner) + 1e-9


def test_it_holds_in_both_engines_and_as_a_file_under_the_settings_of_the_verdict(root, scene):
    for engine in ("mujoco", "pybullet"):
        found = {check.id: check.verdict for check in scene.checks if check.engine == engine}
        assert {"S1", "S2", "S3", "S5"} <= found.keys() and set(found.values()) <= {Verdict.PASS, Verdict.WARN}
    published = publish_large(scene, PublishLargeConfig(str(root), pictures=False))
    assert isinstance(published, PublishedScene), published
    loaded = load_scene(root / published.folder)
    assert {one.name for one in loaded.objects} == {member.name for member in scene.members}


def request(scene, root, objects):
    (job,) = plan_floor(OPTIONS, objects, DEMAND, packing=0.4).cells[0].jobs
    box = scene.fixtures[0].bounds(scene.models) + np.array([[-0.5], [0.5]])
    folders = tuple(sorted({member.folder for member in scene.members}))
    config = HoldConfig(str(root), scene.models, folders, np.ones(len(folders)), layer=0)
    return ComponentRequest("pile", 0, scene.members, scene.fixtures, box, pour=job), config


def test_where_too_few_hold_more_is_poured_and_the_rest_is_kept(root, scene, monkeypatch):
    poured = []

    def first_refused(objects, *arguments):
        if not poured:
            return HeldHeap(tuple(objects[1:]), {objects[0].name: "FAIL S2"}, None)
        return hold_heap(objects, *arguments)

    def watched(job, container, objects, *arguments, lost, first):
        poured.append((dict(lost), first, len(objects)))
        return pour(job, container, objects, *arguments, lost=lost, first=first)

    monkeypatch.setattr(component, "hold_heap", first_refused)
    monkeypatch.setattr(component, "pour", watched)
    held = hold_component(*request(scene, root, OBJECTS))
    name = scene.members[0].name
    # what lay there was judged first, and is kept
    assert poured[0] == ({name: "FAIL S2"}, False, OBJECTS)
    assert isinstance(held, HeldComponent), held
    assert {member.name for member in held.members} == {member.name for member in scene.members}
    assert held.replaced[0] == f"{name}: FAIL S2"


def test_a_heap_is_drawn_with_some_to_spare_as_far_as_there_is_room(root, scene):
    _, config = request(scene, root, OBJECTS)
    job = replace(plan_floor(OPTIONS, OBJECTS, DEMAND, packing=0.4).cells[0].jobs[0], pour_room=1.0)
    assert len(draw_load(job, config, np.random.default_rng(0))) == OBJECTS + 8  # a quarter of 30
    assert len(draw_load(replace(job, layered=False), config, np.random.default_rng(0))) == OBJECTS
    smallest = min(shell_volume(read_asset(str(root), folder)) for folder in config.poured)
    full = replace(job, poured=3, pour_room=3.1 * smallest)
    assert len(draw_load(full, config, np.random.default_rng(0))) == 3


def test_what_is_delivered_is_what_was_judged(root, scene):
    """Both engines again, from the delivered poses alone."""
    objects = [SceneObject(m.name, read_asset(str(root), m.folder), m.X_WB) for m in scene.members]
    furniture = [one.placement(scene.models) for one in scene.fixtures]
    world = make_world(furniture, objects, find_material("concrete"))
    assert not verify_in_both(world, objects, SceneCheckConfig()).refused


def test_the_same_seed_gives_the_same_pile(root, folders):
    first, again = (require(compose(root, folders, 10, options=OPTIONS, layout="pile")) for _ in range(2))
    assert again.replaced == first.replaced
    for a, b in zip(first.members, again.members, strict=True):
        assert a.name == b.name and a.folder == b.folder
        assert np.array_equal(a.X_WB.position, b.X_WB.position)
        assert np.array_equal(a.X_WB.quaternion, b.X_WB.quaternion)
