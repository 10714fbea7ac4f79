"""The Python API as a user meets it: generate, load, attach; a scene in MuJoCo and in PyBullet."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import mujoco
import numpy as np
import pyarrow.parquet as pq
import pytest

import scenegen
from scenegen.errors import AssetError, ConfigError, SceneError

PUBLIC = {"attach", "generate", "load_asset", "load_asset_pybullet", "load_scene", "load_scene_pybullet", "verify"}


@pytest.fixture(scope="module")
def scene_folder(tiny_out: Path) -> Path:
    return tiny_out / "scenes" / "kitchen_table"


def first_asset(out: Path) -> Path:
    return out / pq.read_table(out / "manifest.parquet").to_pylist()[0]["folder"]


def test_names_are_imported_when_they_are_used():
    assert set(scenegen.__all__) == PUBLIC <= set(dir(scenegen))
    assert all(callable(getattr(scenegen, name)) for name in PUBLIC)
    with pytest.raises(AttributeError, match="no attribute 'generat'"):
        scenegen.generat  # noqa: B018
    code = "import sys, scenegen as s; n = 'scenegen.api'; a = n in sys.modules; s.attach; print(a, n in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"family": "mugg"}, "'mugg' is not a family. Did you mean 'mug'? Families: mug, bowl"),
        ({"family": "mug", "resolution": 5}, "resolution is 5, expected a value >= 32"),
        ({"family": "mug", "seed": -1}, "seed is -1, expected a value >= 0"),
        ({"family": "mug", "seed": 1.5}, "seed is 1.5 (a number), expected a whole number"),
        ({"family": "mug", "parameters": {"wal": 0.004}}, "'wal' is no parameter of Mug. Did you mean 'wall'?"),
        ({"family": "mug", "parameters": {"wall": float("nan")}}, "wall is nan, expected a finite number"),
        ({"family": "mug", "parameters": {"wall": 4.0}}, "wall is 4 m, possible here is"),
    ],
)
def test_generate_refuses_what_a_run_refuses(arguments, message):
    with pytest.raises(ConfigError) as caught:
        scenegen.generate(**arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_generate_gives_a_certified_asset_or_a_rejection_with_its_reason():
    from scenegen.assets.build import CertifiedAsset
    from scenegen.pipeline.stage import Rejection

    made = scenegen.generate("hex_nut", seed=3, resolution=48)
    assert isinstance(made, CertifiedAsset), made
    assert str(made.certificate.verdict) in ("PASS", "WARN") and made.certificate.asset_id == made.asset.asset_id
    assert {name for name, _ in made.certificate.engines} == {"mujoco", "pybullet"}
    thin = scenegen.generate("angle_bracket", resolution=32, parameters={"thickness": 0.0026})
    assert isinstance(thin, Rejection)
    assert (thin.stage, thin.reason) == ("generate", "impossible parameters")
    assert "Raise the resolution from 32 to" in thin.message


def test_an_asset_falls_and_rests_in_a_model_of_the_users_own(tiny_out: Path):
    asset = scenegen.load_asset(first_asset(tiny_out))
    spec = mujoco.MjSpec()
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[1, 1, 0.1])
    body = scenegen.attach(spec, asset, "left_")
    assert body.name == f"left_{asset.model.root.name}"
    model = spec.compile()
    data = mujoco.MjData(model)
    assert model.body(body.name).mass[0] == pytest.approx(asset.model.root.inertial.mass, rel=1e-9)
    while data.time < 1.0:
        mujoco.mj_step(model, data)
    assert np.abs(data.body(body.name).xpos).max() < 2e-3
    with pytest.raises(AssetError, match="choose another prefix"):
        scenegen.attach(spec, asset, "left_")


def test_load_scene_gives_what_the_files_say(scene_folder: Path):
    scene = scenegen.load_scene(scene_folder)
    record = json.loads((scene_folder / "scene.json").read_text())
    assert str(scene.verdict) == record["verdict"] and scene.name == "kitchen_table"
    assert [one.name for one in scene.objects] == [row["name"] for row in record["objects"]]
    for one, row in zip(scene.objects, record["objects"], strict=True):
        assert one.X_WB.position.tolist() == row["position"] and one.X_WB.quaternion.tolist() == row["quaternion"]
        assert one.asset.asset_id == row["asset_id"]


def copied(scene_folder: Path, target: Path) -> Path:
    """Return the scene in a copy of the run, so that it may be damaged."""
    shutil.copytree(scene_folder.parent.parent / "assets", target / "assets")
    return Path(shutil.copytree(scene_folder, target / "scenes" / scene_folder.name))


def test_a_run_may_be_moved(scene_folder: Path, tmp_path):
    assert scenegen.load_scene(copied(scene_folder, tmp_path)).verdict == scenegen.load_scene(scene_folder).verdict


def test_a_damaged_scene_is_refused(scene_folder: Path, tmp_path):
    folder = copied(scene_folder, tmp_path)
    path = folder / "scene.json"
    record = json.loads(path.read_text())
    for change, message in [
        ({"schema": "another"}, "not a scene of schema"),
        ({"objects": [{"name": "object_000"}]}, "KeyError: 'folder'"),
        ({"checks": []}, "its checks give UNDECIDED"),
        ({"objects": [{**record["objects"][0], "asset_id": "0" * 32}]}, "expected 0000"),
    ]:
        path.write_text(json.dumps({**record, **change}))
        with pytest.raises(SceneError, match=message):
            scenegen.load_scene(folder)
    path.write_text(json.dumps(record))
    (tmp_path / record["objects"][0]["folder"] / "model.xml").unlink()
    with pytest.raises(AssetError, match=r"model\.xml: is missing"):
        scenegen.load_scene(folder)
    with pytest.raises(SceneError, match=r"nowhere.scene\.json: cannot be read"):
        scenegen.load_scene(tmp_path / "nowhere")


def test_the_scene_stands_still_in_a_pybullet_client_of_the_users_own(scene_folder: Path):
    import pybullet

    scene = scenegen.load_scene(scene_folder)
    client = pybullet.connect(pybullet.DIRECT)
    try:
        bodies = scenegen.load_scene_pybullet(scene_folder, client)
        assert set(bodies) == {"ground", "table", *(one.name for one in scene.objects)}

        def poses() -> np.ndarray:
            rows = [pybullet.getBasePositionAndOrientation(bodies[one.name], client) for one in scene.objects]
            return np.array([[*position, *quaternion] for position, quaternion in rows])

        begin = poses()
        for one, row in zip(scene.objects, begin, strict=True):
            # PyBullet's base is the inertial frame: its position is the centre of mass in the world.
            assert row[:3] == pytest.approx(one.X_WB.apply(one.asset.model.root.inertial.com), abs=1e-7)
            mass = pybullet.getDynamicsInfo(bodies[one.name], -1, client)[0]
            assert mass == pytest.approx(one.asset.model.root.inertial.mass, rel=1e-9)
        assert pybullet.getDynamicsInfo(bodies["table"], -1, client)[0] == 0
        step = pybullet.getPhysicsEngineParameters(client)["fixedTimeStep"]
        for _ in range(round(1.0 / step)):
            pybullet.stepSimulation(client)
        end = poses()
        assert np.abs(end[:, :3] - begin[:, :3]).max() < 5e-4
        assert np.abs(np.einsum("ij,ij->i", end[:, 3:], begin[:, 3:])).min() > 1 - 1e-5
        assert np.linalg.norm([pybullet.getBaseVelocity(bodies[o.name], client)[0] for o in scene.objects]) < 5e-3
    finally:
        pybullet.disconnect(client)
