"""Scenes as files: stock MuJoCo and PyBullet find every object at rest, and reading back gives the same scene."""

import json
import shutil
from dataclasses import replace
from xml.etree import ElementTree

import mujoco
import numpy as np
import pyarrow.parquet as pq
import pytest
from scene_assets import plain_assets

from physics.check import Verdict
from physics.drop_mujoco import load_mujoco_file, open_mujoco
from physics.materials import find_material, pair_friction
from physics.pose import Pose
from scenegen.api import load_asset_pybullet
from scenegen.assets.package import asset_folder, publish_asset, stage_asset
from scenegen.errors import AssetError, SceneError
from scenegen.pipeline.stage import Rejection
from scenegen.scenes import publish
from scenegen.scenes.build import ComposeConfig, ScenePlan, build_scene
from scenegen.scenes.export_mjcf import read_back_mjcf
from scenegen.scenes.layouts import TabletopConfig
from scenegen.scenes.load import load_scene, load_scene_pybullet
from scenegen.scenes.publish import PublishedScene, SceneRequest, SceneStageConfig, publish_scene, write_scene
from scenegen.scenes.verify import SceneCheckConfig

pybullet = pytest.importorskip("pybullet")

PLAN = ScenePlan("test_table", "tabletop", TabletopConfig(), 6, 0)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    root = tmp_path_factory.mktemp("out")
    for asset in plain_assets():
        publish_asset(stage_asset(asset, root), asset_folder(root, asset.asset_id))
    return root


@pytest.fixture(scope="module")
def folder(out):
    folders = tuple(asset_folder(out, asset.asset_id).relative_to(out).as_posix() for asset in plain_assets())
    result = publish_scene(SceneRequest(PLAN, folders), SceneStageConfig(str(out)))
    assert isinstance(result, PublishedScene), result
    assert result.objects == 6
    assert all((out / picture).is_file() for picture in result.pictures)
    return out / result.folder


def test_stock_mujoco_loads_the_file_and_everything_stands_still(folder):
    model = mujoco.MjModel.from_xml_path(str(folder / "scene.xml"))
    data = mujoco.MjData(model)
    start = data.qpos.copy()
    mujoco.mj_step(model, data, 1000)
    assert np.abs(data.qpos - start).max() < 1e-3
    assert not any(warning.number for warning in data.warning)


def test_the_file_is_the_model_that_was_verified(folder):
    scene = load_scene(folder)
    ours = open_mujoco(scene.world)._model
    theirs = mujoco.MjModel.from_xml_path(str(folder / "scene.xml"))
    for option in ("timestep", "integrator", "cone", "solver", "impratio", "tolerance", "iterations", "disableflags"):
        assert getattr(ours.opt, option) == getattr(theirs.opt, option), option
    assert ours.opt.enableflags == theirs.opt.enableflags
    assert ours.narena == theirs.narena
    for field in ("body_mass", "body_ipos", "body_inertia", "qpos0"):
        assert getattr(theirs, field) == pytest.approx(getattr(ours, field), rel=1e-9, abs=1e-12), field
    seen = (theirs.geom_contype | theirs.geom_conaffinity) > 0
    assert seen.sum() == ours.ngeom
    for name in ("friction", "solref", "solmix", "solimp", "condim", "margin", "gap"):
        field = f"geom_{name}"
        assert getattr(theirs, field)[seen] == pytest.approx(getattr(ours, field)), field


def test_poses_and_inertials_keep_all_their_digits(folder):
    scene = load_scene(folder)
    bodies = {body.get("name"): body for body in ElementTree.parse(folder / "scene.xml").iter("body")}
    for one in scene.objects:
        assert [float(x) for x in bodies[one.name].get("pos").split()] == one.X_WB.position.tolist()
        mass = bodies[one.name].find("inertial").get("mass")
        assert float(mass) == one.asset.model.root.inertial.mass


def test_every_mesh_is_stored_once_and_referenced_relatively(folder):
    files = [mesh.get("file") for mesh in ElementTree.parse(folder / "scene.xml").iter("mesh")]
    assert len(set(files)) == len(files)
    assert not any(file.startswith("/") for file in files)


def test_a_scene_reads_back_as_it_was_written(folder):
    scene = load_scene(folder)
    record = json.loads((folder / "scene.json").read_text())
    assert scene.verdict is Verdict.PASS
    assert record["verdict"] == "PASS"
    assert len(scene.checks) == len(record["checks"])
    assert all(str(check.verdict) == row["verdict"] for check, row in zip(scene.checks, record["checks"], strict=True))
    files = record.pop("files")
    assert json.loads(json.dumps(publish.describe_scene(scene))) == record
    assert {"scene.xml", "poses.parquet"} < set(files) == {*publish.hash_files(folder)}
    table = pq.read_table(folder / "poses.parquet").to_pylist()
    assert [row["object"] for row in table] == [one.name for one in scene.objects]
    assert [row["z"] for row in table] == [one.X_WB.position[2] for one in scene.objects]


def test_pybullet_holds_the_loaded_scene(folder):
    client = pybullet.connect(pybullet.DIRECT)
    try:
        bodies = load_scene_pybullet(folder, pybullet, client)
        scene = load_scene(folder)
        assert {"ground", "table", *(one.name for one in scene.objects)} == set(bodies)
        start = {name: pybullet.getBasePositionAndOrientation(body, client)[0] for name, body in bodies.items()}
        for _ in range(300):
            pybullet.stepSimulation(client)
        for name, body in bodies.items():
            position = pybullet.getBasePositionAndOrientation(body, client)[0]
            assert np.abs(np.subtract(position, start[name])).max() < 1e-3, name
    finally:
        pybullet.disconnect(client)


def test_a_single_asset_in_pybullet_is_the_verified_one(out):
    """Stock loadURDF gives a margin of 1 mm; neither file nor loader may rebound."""
    asset = plain_assets()[1]
    folder = asset_folder(out, asset.asset_id)
    assert {one.get("value") for one in ElementTree.parse(folder / "model.urdf").iter("restitution")} == {"0.0"}
    assert "against a surface of lateral friction 1" in (folder / "model.urdf").read_text()
    client = pybullet.connect(pybullet.DIRECT)
    try:
        body = load_asset_pybullet(folder, client)
        inertial = asset.model.root.inertial
        held = pybullet.getDynamicsInfo(body, -1, client)
        assert held[0] == pytest.approx(inertial.mass, rel=1e-9)
        moments = np.linalg.eigvalsh(inertial.inertia)
        assert sorted(held[2]) == pytest.approx(moments, rel=1e-6)
        part = asset.model.root.parts[0].material
        assert held[1] == pytest.approx(pair_friction(part, find_material("oak")).sliding, rel=1e-6)
        assert held[5] == 0.0
        centre, _ = pybullet.getBasePositionAndOrientation(body, client)
        assert centre == pytest.approx(inertial.com, abs=1e-7)
        ground = pybullet.createCollisionShape(pybullet.GEOM_PLANE, physicsClientId=client)
        pybullet.createMultiBody(0, ground, physicsClientId=client)
        rest = asset.rest_poses[0].X_WB
        start = rest.apply(inertial.com)
        turned = rest.compose(inertial.principal_pose)
        w, x, y, z = turned.quaternion
        pybullet.resetBasePositionAndOrientation(body, start, [x, y, z, w], client)
        for _ in range(300):
            pybullet.stepSimulation(client)
        centre, _ = pybullet.getBasePositionAndOrientation(body, client)
        # No margin of 1 mm to hover on, nor one to sink by.
        assert abs(centre[2] - start[2]) < 1e-4 * asset.model.root.size
    finally:
        pybullet.disconnect(client)


def test_writing_again_gives_the_same_bytes(folder, out, tmp_path):
    before = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    again = write_scene(replace(load_scene(folder), checks=load_scene(folder).checks), out, ComposeConfig())
    assert isinstance(again, PublishedScene)
    after = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name] and name != "scene.json"] == []


def test_a_file_with_a_moved_or_heavier_object_is_found_out(folder):
    scene = load_scene(folder)
    one = scene.objects[0]
    shifted = one.at(Pose(one.X_WB.position + np.array([0.01, 0, 0]), one.X_WB.quaternion))
    turned = one.at(Pose.from_axis_angle(np.array([0.0, 0, 1]), 0.01).compose(one.X_WB))
    turned = one.at(Pose(one.X_WB.position, turned.X_WB.quaternion))
    for other, field in ((shifted, "position"), (turned, "orientation")):
        moved = replace(scene, objects=(other, *scene.objects[1:]))
        checks = read_back_mjcf(moved, folder / "scene.xml", SceneCheckConfig())
        assert any(check.id == "X5" and field in check.name and check.verdict is Verdict.FAIL for check in checks)
    text = (folder / "scene.xml").read_text()
    mass = repr(one.asset.model.root.inertial.mass)
    heavy = folder / "heavy.xml"
    heavy.write_text(text.replace(f'mass="{mass}"', f'mass="{2 * float(mass)}"', 1))
    checks = read_back_mjcf(scene, heavy, SceneCheckConfig())
    heavy.unlink()
    assert {check.id for check in checks if check.verdict is Verdict.FAIL} >= {"X5", "S5"}


def test_a_scene_whose_file_does_not_hold_is_not_published(folder, out):
    scene = replace(load_scene(folder), name="lifted")
    one = scene.objects[0]
    lifted = one.at(Pose(one.X_WB.position + np.array([0, 0, 0.1]), one.X_WB.quaternion))
    result = write_scene(replace(scene, objects=(lifted, *scene.objects[1:])), out, ComposeConfig())
    assert isinstance(result, Rejection)
    assert not (out / "scenes" / "lifted").exists()
    assert not list((out / "scenes").glob(".staged_*"))


def test_refusals(folder, out, tmp_path):
    with pytest.raises(SceneError, match="cannot be read"):
        load_scene(tmp_path)
    (tmp_path / "scene.json").write_text('{"schema": "other"}')
    with pytest.raises(SceneError, match="not a scene of schema"):
        load_scene(tmp_path)
    record = json.loads((folder / "scene.json").read_text())
    changed = folder.parent / "changed"
    shutil.copytree(folder, changed)
    for row in record["checks"]:
        if row["id"] == "S2":
            row["value"] = 1.0
    (changed / "scene.json").write_text(json.dumps(record))
    with pytest.raises(SceneError, match="states PASS, but its checks give FAIL"):
        load_scene(changed)
    victim = next((out / record["objects"][0]["folder"] / "collision").iterdir())
    kept = victim.read_bytes()
    victim.write_bytes(kept + b"v 0 0 0\n")
    with pytest.raises(AssetError, match="was changed"):
        load_scene(folder)
    victim.write_bytes(kept)
    xml = folder / "scene.xml"
    kept = xml.read_bytes()
    xml.write_bytes(kept[:-20])
    with pytest.raises(SceneError, match=r"scene\.xml: was changed"):
        load_scene(folder)
    xml.unlink()
    with pytest.raises(SceneError, match=r"scene\.xml: is missing"):
        load_scene(folder)
    xml.write_bytes(kept)


def test_a_plan_that_does_not_fit_is_a_rejection_with_the_number(out):
    folders = (asset_folder(out, plain_assets()[0].asset_id).relative_to(out).as_posix(),)
    result = publish_scene(SceneRequest(replace(PLAN, objects=900), folders), SceneStageConfig(str(out)))
    assert isinstance(result, Rejection)
    assert "had room for" in result.message


def test_the_loader_of_files_reports_what_it_cannot_load(folder, tmp_path):
    from physics.errors import EngineError

    path = tmp_path / "scene.xml"
    path.write_text("<mujoco><worldbody><body name='x'/></worldbody></mujoco>")
    with pytest.raises(EngineError, match="cannot load"):
        load_mujoco_file(path, load_scene(folder).world)


def test_scenes_are_drawn_from_the_generator_alone(folder):
    scene = load_scene(folder)
    assets = {one.asset.asset_id: one.asset for one in scene.objects}
    results = [build_scene(PLAN, list(assets.values()), np.random.default_rng(1), ComposeConfig()) for _ in range(2)]
    poses = [[one.X_WB.position.tolist() for one in result.objects] for result in results]
    assert poses[0] == poses[1]
