"""Large scenes: the same on any executor, complete, exact; refused before they start."""

import dataclasses
import functools
import json
import re

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from large_scene import SMALL_WAREHOUSE, compose, require, run_here, write_assets

from physics.check import Verdict, overall_verdict
from physics.pose import Pose
from scenegen.config import read_config
from scenegen.errors import ConfigError, SceneError
from scenegen.large.capacity import check_size
from scenegen.large.compose import LargeConfig
from scenegen.large.delivered import check_delivered, count_touching, find_contacts
from scenegen.large.demand import Demand
from scenegen.large.exactness import measure_exactness
from scenegen.large.export import ExportConfig, export_large, load_model, save_binary
from scenegen.large.floor import FloorPlan
from scenegen.large.layouts import plan_floor
from scenegen.large.near import BoxIndex, candidate_pairs, join, overlapping_pairs
from scenegen.large.options import (
    ApartmentConfig,
    FloorClutterConfig,
    MixConfig,
    ShareConfig,
    TableFarmConfig,
    ToteGridConfig,
    WarehouseConfig,
)
from scenegen.large.pool import choose_assets, read_asset
from scenegen.large.publish import PublishLargeConfig, publish_large, verdict_of
from scenegen.large.reach import may_touch, reach_at
from scenegen.pipeline.stage import Rejected, Rejection
from scenegen.scenes.load import load_scene
from scenegen.scenes.publish import PublishedScene
from scenegen.scenes.verify import SceneCheckConfig

DEMAND = Demand(0.03, 0.0015, 0.6)
BRIEF = SceneCheckConfig(hold_seconds=0.3, mujoco_horizon=0.0)
LAYOUTS = {
    "warehouse": WarehouseConfig(),
    "tote_grid": ToteGridConfig(),
    "floor_clutter": FloorClutterConfig(),
    "table_farm": TableFarmConfig(),
    "apartment": ApartmentConfig(),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("large")


@pytest.fixture(scope="module")
def folders(root):
    return write_assets(root)


@pytest.fixture(scope="module")
def scene(root, folders):
    return require(compose(root, folders, 30))


def spread_boxes(count, rng):
    """Boxes of one size on a floor that grows with their number."""
    lower = rng.uniform(0, np.sqrt(count), (count, 3)) * [1.0, 1.0, 0.0]
    return np.stack([lower, lower + 0.5], axis=1)


# ---- contact graph --------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_hash_finds_the_pairs_that_comparing_all_finds(count, seed):
    boxes = spread_boxes(count, np.random.default_rng(seed)) if count else np.zeros((0, 2, 3))
    every = [
        (i, j)
        for i in range(count)
        for j in range(i + 1, count)
        if (boxes[i, 0] <= boxes[j, 1]).all() and (boxes[j, 0] <= boxes[i, 1]).all()
    ]
    assert overlapping_pairs(boxes) == every
    index = BoxIndex(boxes)
    for i in range(count):
        assert set(index.overlapping(boxes[i])) == {i} | {sum(p) - i for p in every if i in p}


def test_candidates_grow_in_line_with_the_count():
    rng = np.random.default_rng(0)
    counts = np.array([500, 2000, 8000])
    found = np.array([len(candidate_pairs(spread_boxes(count, rng))) for count in counts])
    growth = np.polyfit(np.log(counts), np.log(found), 1)[0]
    assert growth < 1.1, (found, growth)


def test_joined_numbers_are_the_connected_components():
    assert join(6, [(4, 1), (1, 2), (5, 5)]) == [[0], [1, 2, 4], [3], [5]]


def test_may_touch_sees_gap_and_height(root, folders):
    asset = read_asset(str(root), folders[1])  # a cube of 50 mm
    here = reach_at(asset, Pose.translation(0, 0, 0))
    assert may_touch(here, reach_at(asset, Pose.translation(0.053, 0, 0)), 0.004)
    assert not may_touch(here, reach_at(asset, Pose.translation(0.055, 0, 0)), 0.004)
    assert not may_touch(here, reach_at(asset, Pose.translation(0, 0, 0.06)), 0.004)
    swept = here.box + np.array([[0.0] * 3, [0.002, 0, 0]])
    assert may_touch(
        reach_at(asset, Pose.translation(0, 0, 0), swept), reach_at(asset, Pose.translation(0.055, 0, 0)), 0.004
    )


# ---- floor plans ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("objects", [10, 11, 137, 1000, 20_000])
def test_a_floor_plan_has_room_for_exactly_the_objects(layout, objects):
    floor = plan_floor(LAYOUTS[layout], objects, DEMAND, packing=0.4)
    assert floor.objects == objects
    names = [one.name for one in floor.fixtures]
    assert len(set(names)) == len(names)
    assert all(job.stacked != 1 for cell in floor.cells for job in cell.jobs)
    assert all(job.container in names for cell in floor.cells for job in cell.jobs if job.poured)


def test_furniture_does_not_overlap():
    floor = plan_floor(WarehouseConfig(), 500, DEMAND, packing=0.4)
    boxes = {kind: [] for kind in floor.models}
    for one in floor.fixtures:
        boxes[one.kind].append(one.bounds(floor.models) + np.array([[1e-9], [-1e-9]]))
    assert not overlapping_pairs(np.array(boxes["bay"]))
    assert not overlapping_pairs(np.array(boxes["bin"]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (WarehouseConfig(bays=1), "do not fit into 1 bays"),
        (ToteGridConfig(totes=3), "at most 27"),
        (FloorClutterConfig(tiles=2), "raise options.tiles"),
        (TableFarmConfig(tables=2), "raise options.tables"),
        (TableFarmConfig(objects_per_table=3, tables=300), "raise options.tables to 334"),
        (ApartmentConfig(rooms=2), "raise options.rooms"),
    ],
)
def test_more_objects_than_fit_are_refused(options, words):
    with pytest.raises(SceneError, match=words):
        plan_floor(options, 1000, DEMAND, packing=0.4)


def test_bins_that_overflow_are_refused():
    with pytest.raises(SceneError, match="objects a bin do not fit"):
        plan_floor(ToteGridConfig(objects_per_bin=90), 1000, DEMAND, packing=0.4)


def test_a_scene_that_memory_cannot_hold_is_refused(root, folders, monkeypatch):
    floor = plan_floor(WarehouseConfig(), 20_000, DEMAND, packing=0.4)
    assets = [read_asset(str(root), folder) for folder in folders]
    check_size(FloorPlan({}, ()), assets)
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 2**28})())
    with pytest.raises(SceneError, match="are free; ask for at most"):
        check_size(floor, assets)


def test_a_family_that_is_not_there_is_named(root, folders):
    options = WarehouseConfig(mix=MixConfig(families={"brik": 1.0}))
    answer = compose(root, folders, 20, options=options)
    assert isinstance(answer, Rejection)
    assert "no asset is of family 'brik'" in answer.message


def test_assets_of_too_many_hulls_are_left_out(root, folders):
    assets = [read_asset(str(root), folder) for folder in folders]
    counts = sorted({len(asset.model.root.hulls) for asset in assets})
    assert len(counts) > 1
    chosen = choose_assets(assets, MixConfig(most_hulls=counts[0]), 0.4)
    assert {len(asset.model.root.hulls) for asset in chosen} == {counts[0]}
    rich = [asset for asset in assets if asset not in chosen]
    with pytest.raises(SceneError, match="number of hulls"):
        choose_assets(rich, MixConfig(most_hulls=counts[0]), 0.4)


@pytest.mark.parametrize("fields", [{"poured": 0.8, "stacked": 0.3}, {"fill": 1.5}, {"objects_per_bin": 0}])
def test_impossible_shares_are_refused(fields):
    with pytest.raises(SceneError, match=r"expected|add up"):
        ShareConfig(**fields)


@pytest.mark.parametrize(
    ("scene", "words"),
    [
        ("layout: warehous, objects: 50", "Did you mean 'warehouse'"),
        ("layout: warehouse, objects: 30000", "expected a value <= 20000"),
        ("layout: warehouse, objects: 50, options: {mix: {familys: {}}}", "Did you mean 'families'"),
        ("layout: warehouse, objects: 500, options: {bays: 0}", "raise options.bays to"),
        ("layout: warehouse, objects: 50, options: {bays_per_row: 0}", "expected >= 1"),
        ("layout: warehouse, objects: 50, options: {mix: {most_hulls: 0}}", "expected >= 1"),
        ("layout: warehouse, objects: 50, options: {mix: {mean_hulls: 0.5}}", "expected a number >= 1"),
        ("layout: apartment, objects: 50, options: {room: {door: 4}}", "does not fit into walls"),
        ("layout: apartment, objects: 50, options: {fill: 0}", "expected within"),
        ("layout: table_farm, objects: 50, options: {shares: {poured: 0.5}}", "tables have no bins"),
        ("layout: tote_grid, objects: 50, options: {objects_per_bin: 0}", "expected >= 1"),
        ("layout: tote_grid, objects: 50, options: {bin_material: plywod}", "plywod"),
        ("layout: floor_clutter, objects: 50, options: {tile: 0.0}", "no room for one"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(scene, words):
    text = f"name: x\nobjects: [{{families: all, count: 1}}]\nscenes: [{{name: a, {scene}}}]\n"
    with pytest.raises(ConfigError, match=re.escape(words)):
        read_config(text)


# ---- whole scenes ---------------------------------------------------------------------------------------------


def test_every_object_is_accounted_for(scene):
    assert len(scene.members) == 30 == len({member.name for member in scene.members})
    assert scene.counts["alone"] + scene.counts["in_components"] == 30
    assert scene.counts["alone"] == sum(not one for one in scene.components)
    assert overall_verdict(scene.checks, ("S1", "S2", "S3", "S5")) is Verdict.PASS


def test_a_small_scene_of_a_large_library_finds_no_more_stances_than_it_has_objects(root, folders):
    asked = []

    def watched(stages, items, store, *, observer):
        asked.extend(item.record.folder for item in items if stages[0].name == "stance")
        return run_here(stages, items, store, observer=observer)

    options = dataclasses.replace(SMALL_WAREHOUSE, shares=ShareConfig(0.0, 0.0, 5, 0.2))
    few = LargeConfig(least_assets=1)
    scene = require(compose(root, folders, 2, options=options, execute=watched, config=few))
    assert len(folders) > len(asked) == len(set(asked)) == 2 == len(scene.members)


def test_a_stack_with_nothing_near_it_is_not_judged_again_but_for_a_sample(root, folders):
    asked = []

    def watched(stages, items, store, *, observer):
        asked.extend(item.record for item in items if stages[0].name == "component")
        return run_here(stages, items, store, observer=observer)

    scene = require(compose(root, folders, 30, execute=watched))
    judged = {one.name: one for one in asked}
    names = {component for component in scene.components if component}
    stacks = names - judged.keys()
    assert scene.counts["stacks"] == len(stacks) > 0
    assert set(scene.by_stance) == stacks and not scene.unsound
    sampled = [one for name, one in judged.items() if name.removesuffix("_sample") in stacks]
    kinds = {(one.members[0].folder, len(one.members)) for one in sampled}
    assert len(sampled) == len(kinds) and not any(one.relax for one in sampled)  # each kind of stack once
    for stack in stacks:
        copies = [one for one, owner in zip(scene.members, scene.components, strict=True) if owner == stack]
        assert len(copies) > 1 and len({one.folder for one in copies}) == 1
        assert np.ptp([one.X_WB.position[2] for one in copies]) > 0.01


def test_a_stance_that_does_not_hold_on_the_spot_proves_nothing(root, folders):
    """All that stands as it does is settled and judged on its own; nothing is refused for it, nothing kept unproven."""
    asked = []

    def doubting(stages, items, store, *, observer):
        """Refuses the samples of the first stance that is looked at."""
        found = run_here(stages, items, store, observer=observer)
        if items[0].id.endswith("_sample"):
            rounds.append([item.record for item in items])
        for item in items:
            if stages[0].name != "component":
                continue
            asked.append(item.record)
            kind = (item.record.members[0].folder, len(item.record.members)) if item.record.members else None
            if item.id.endswith("_sample") and kind == doubted.setdefault("kind", kind):
                rejection = Rejection("component", "objects never held", 1.0, 0.0, "1", f"{item.id} slides")
                found[item.id] = Rejected(item, rejection, ())
        return found

    doubted: dict = {}
    rounds: list = []
    scene = require(compose(root, folders, 30, execute=doubting))
    assert len(scene.unsound) == 1 and "slides" in scene.unsound[0]
    folder, copies = doubted["kind"]
    owners = dict(zip((one.name for one in scene.members), scene.components, strict=True))
    again = [one for one in asked if one.relax and len(one.members) == copies and one.members[0].folder == folder]
    assert again and all(owners[one.members[0].name] == one.name for one in again)
    judged = {member.name for one in asked if one.relax for member in one.members}
    for member in scene.members:  # none is left that stands alone as the doubted stance does
        if member.folder == folder and copies == 1 and owners[member.name] == "":
            assert member.name in judged or not np.isclose(
                member.X_WB.rotation[2, 2], again[0].members[0].X_WB.rotation[2, 2]
            )
    assert scene.counts["alone"] + scene.counts["in_components"] == 30
    first, last = rounds[0], rounds[-1]
    held = {one.name for one in first if (one.members[0].folder, len(one.members)) != doubted["kind"]}
    assert held and held <= {one.name for one in last}  # what held on the spot is not drawn anew


def test_stacks_that_come_near_each_other_are_judged_together(root, folders):
    crowded = dataclasses.replace(SMALL_WAREHOUSE, shares=ShareConfig(0.0, 0.8, 5, 0.2))
    apart = require(compose(root, folders, 12, options=crowded))
    near = require(compose(root, folders, 12, options=crowded, config=LargeConfig(margin=0.3)))
    assert near.counts["largest_component"] > apart.counts["largest_component"]
    assert near.counts["stacks"] < apart.counts["stacks"]


def test_order_of_execution_does_not_matter(root, folders, scene):
    again = require(compose(root, folders, 30, execute=functools.partial(run_here, backwards=True)))
    assert [one.name for one in again.members] == [one.name for one in scene.members]
    for ours, theirs in zip(again.members, scene.members, strict=True):
        assert ours.folder == theirs.folder
        assert ours.X_WB.position.tobytes() == theirs.X_WB.position.tobytes()
        assert ours.X_WB.quaternion.tobytes() == theirs.X_WB.quaternion.tobytes()


def test_another_seed_gives_another_scene(root, folders):
    few, others = (require(compose(root, folders, 6, seed=seed)) for seed in (3, 4))
    assert any(
        not np.allclose(a.X_WB.position, b.X_WB.position) for a, b in zip(few.members, others.members, strict=True)
    )


@pytest.mark.parametrize("converged", [True, False])
def test_components_move_like_one_model_of_the_whole(scene, root, converged):
    found = measure_exactness(
        scene, str(root), SceneCheckConfig(hold_seconds=0.3, mujoco_horizon=0.0), converged=converged
    )
    assert found.exact, found
    assert found.objects == 30 and found.components < 30


def test_the_comparison_sees_a_missing_neighbour(scene, root):
    """Judged apart, objects of one bin that lean on each other fall: the comparison must not be blind."""
    from dataclasses import replace

    torn = replace(scene, components=("",) * len(scene.members))
    found = measure_exactness(torn, str(root), BRIEF, converged=False)
    assert not found.exact, found


@pytest.fixture(scope="module")
def written(scene, root):
    folder = root / "scenes" / "test"
    folder.mkdir(parents=True)
    return export_large(scene, str(root), folder, ExportConfig())


def test_the_file_is_what_was_verified(scene, root, written):
    model = load_model(written)
    assets = {folder: read_asset(str(root), folder) for folder in {one.folder for one in scene.members}}
    checks = check_delivered(model, find_contacts(model), scene, assets, SceneCheckConfig())
    assert verdict_of([*scene.checks, *checks]) is Verdict.PASS, [c.describe() for c in checks]
    touching = count_touching(model, find_contacts(model))
    stacked = sum(component in scene.by_stance for component in scene.components)
    assert 0 < stacked <= touching <= scene.counts["in_components"]
    assert {check.engine for check in scene.checks} == {"mujoco", "pybullet"}
    one_engine = [check for check in scene.checks if check.engine == "mujoco"]
    assert verdict_of([*one_engine, *checks]) is Verdict.UNDECIDED
    hulls = {hull.mesh.digest for asset in assets.values() for hull in asset.model.root.hulls}
    surfaces = {part.surface.digest for asset in assets.values() for part in asset.model.root.parts}
    furniture = {hull.mesh.digest for kind in scene.models.values() for hull in kind.root.hulls}
    assert model.nmesh == len(hulls | surfaces | furniture)


@pytest.mark.parametrize("sleeping", [False, True])
@pytest.mark.parametrize("spoil", ["place", "nowhere", "mass", "friction", "option", "touch"])
def test_a_file_that_is_something_else_is_refused(scene, root, written, spoil, sleeping):
    model = load_model(written)
    if sleeping:  # as with `sleeping: true`: of two objects that sleep the engine looks for no contact
        model.opt.enableflags |= int(mujoco.mjtEnableBit.mjENBL_SLEEP)
    flags = int(model.opt.enableflags)
    assert count_touching(model, find_contacts(model)) > 0 and model.opt.enableflags == flags
    assets = {folder: read_asset(str(root), folder) for folder in {one.folder for one in scene.members}}
    free = model.body(scene.members[0].name).id
    start = model.jnt_qposadr[model.body_jntadr[free]]
    if spoil == "place":
        model.qpos0[start] += 1e-6
    elif spoil == "nowhere":
        model.qpos0[start] = np.nan
    elif spoil == "mass":
        model.body_mass[free] *= 1.001
    elif spoil == "friction":
        model.geom_friction[model.geom_contype > 0] *= 1.01
    elif spoil == "option":
        model.opt.impratio = 1.0
    else:
        other = model.jnt_qposadr[model.body_jntadr[model.body(scene.members[-1].name).id]]
        model.qpos0[start : start + 3] = model.qpos0[other : other + 3] + 0.005
    checks = check_delivered(model, find_contacts(model), scene, assets, SceneCheckConfig())
    failed = {check.id for check in checks if check.verdict is Verdict.FAIL}
    wanted = {"place": "X5", "nowhere": "X5", "mass": "X5", "friction": "X6", "option": "X6", "touch": "S6"}
    assert wanted[spoil] in failed


def test_a_published_scene_is_loaded_again_and_damage_is_seen(root, folders):
    scene = require(compose(root, folders, 12))
    published = publish_large(scene, PublishLargeConfig(str(root), pictures=False))
    assert isinstance(published, PublishedScene), published
    folder = root / published.folder
    loaded = load_scene(folder)
    assert loaded.verdict is Verdict.PASS
    assert [name for name, _ in loaded.engines] == ["mujoco", "pybullet"]
    assert [one.name for one in loaded.objects] == [member.name for member in scene.members]
    for one, member in zip(loaded.objects, scene.members, strict=True):
        assert (one.X_WB.position == member.X_WB.position).all() and one.X_WB.angle_to(member.X_WB) < 1e-12
    theirs = sorted((p.name, p.model.root.bounds.tolist(), p.X_WB.position.tolist()) for p in loaded.furniture)
    ours = [one.placement(scene.models) for one in scene.fixtures]
    assert theirs == sorted((p.name, p.model.root.bounds.tolist(), p.X_WB.position.tolist()) for p in ours)
    record = json.loads((folder / "scene.json").read_text())
    rows = [row for row in record["checks"] if row.get("engine") != "pybullet"]
    (folder / "scene.json").write_text(json.dumps({**record, "checks": rows}))
    with pytest.raises(SceneError, match="states PASS, but its checks give UNDECIDED"):
        load_scene(folder)
    (folder / "scene.json").write_text(json.dumps(record))
    (folder / "poses.parquet").write_bytes(b"0" + (folder / "poses.parquet").read_bytes()[1:])
    with pytest.raises(SceneError, match=r"poses\.parquet: was changed"):
        load_scene(folder)


def test_the_binary_model_is_the_same_and_sleeps_when_asked(written):
    model = load_model(written)
    path = written.with_name("scene.mjb")
    save_binary(model, path)
    cached = mujoco.MjModel.from_binary_path(str(path))
    assert (cached.qpos0 == model.qpos0).all() and cached.narena == model.narena
    cached.opt.enableflags |= int(mujoco.mjtEnableBit.mjENBL_SLEEP)
    data = mujoco.MjData(cached)
    mujoco.mj_step(cached, data, 5)
    assert data.ntree_awake == 0
    assert (data.qpos == cached.qpos0).all()


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "objects"), [("tote_grid", 40), ("floor_clutter", 60), ("warehouse", 300)])
def test_layouts_are_verified_and_exact(root, folders, layout, objects):
    options = {
        "warehouse": SMALL_WAREHOUSE,
        "tote_grid": ToteGridConfig(bin=SMALL_WAREHOUSE.bin, objects_per_bin=5),
        "floor_clutter": FloorClutterConfig(),
    }[layout]
    made = require(compose(root, folders, objects, options=options, layout=layout))
    assert len(made.members) == objects
    assert measure_exactness(made, str(root), SceneCheckConfig(), converged=True).exact
