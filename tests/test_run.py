"""The main job, end to end with both engines: what a run writes is consistent, loads elsewhere and can be resumed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mujoco
import numpy as np
import pyarrow.parquet as pq
import pytest
from tiny_run import TinyRun, invoke, make_run, tree_hashes

from scenegen.assets.certificate import load_certificate
from scenegen.assets.package import load_asset, verify_files
from scenegen.reports.summary import VOLATILE_FIELDS
from scenegen.run import STORE, make_scenes

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = os.environ | {"COLUMNS": "200"}


def summary_of(out: Path) -> dict:
    return json.loads((out / "summary.json").read_text())


def rows_of(path: Path) -> list[dict]:
    return pq.read_table(path).to_pylist()


def ledger_of(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / STORE / "ledger.jsonl").read_text().splitlines()]


def test_the_summary_adds_up(tiny_run: TinyRun):
    summary = summary_of(tiny_run.out)
    assert tiny_run.code == 0, tiny_run.text
    assert (summary["requested"], summary["generated"], summary["certified"]) == (2, 3, 2)
    assert sum(summary["verdicts"].values()) == 2 and set(summary["verdicts"]) <= {"PASS", "WARN"}
    assert summary["families"] == {"angle_bracket": 1, "hex_nut": 1}
    assert summary["rejected"] == {"generate: impossible parameters": 1}
    assert summary["quarantined"] == []
    assert (summary["scenes"], summary["placed"]) == ({"kitchen_table": "verified"}, 3)
    stages = {row["stage"]: row["calls"] for row in summary["stages"]}
    assert stages["generate"] == 3 and stages["publish"] == 2 and stages["scene"] == 1
    assert {"mujoco", "pybullet", "scenegen"} <= set(summary["versions"])


def test_the_closing_words_name_what_was_written(tiny_run: TinyRun):
    for name in ("manifest.parquet", "assets.png", "scene.xml", "color.png", "summary.json"):
        line = next(line for line in tiny_run.text.splitlines() if line.startswith("wrote ") and name in line)
        assert Path(line.removeprefix("wrote ")).is_file()


def test_every_asset_folder_verifies_and_has_its_row(tiny_out: Path):
    rows = rows_of(tiny_out / "manifest.parquet")
    folders = {path.parent.relative_to(tiny_out).as_posix() for path in tiny_out.rglob("asset.json")}
    assert {row["folder"] for row in rows} == folders and len(rows) == 2
    for row in rows:
        folder = tiny_out / row["folder"]
        asset = load_asset(folder)
        body = asset.model.root
        assert (row["asset_id"], row["category"]) == (asset.asset_id, asset.family)
        assert row["mass_kg"] == body.inertial.mass
        assert row["bbox_min_m"] == body.bounds[0].tolist() and row["bbox_max_m"] == body.bounds[1].tolist()
        assert row["hull_count"] == len(body.hulls) and row["hull_vertices_max"] <= 64
        assert row["config_digest"] == summary_of(tiny_out)["config_digest"]
        (path,) = folder.glob("certificate_*.json")
        certificate = load_certificate(path)
        assert (row["verdict"], row["verdict_mujoco"]) == (str(certificate.verdict), "PASS")
        assert certificate.asset_id == asset.asset_id and not certificate.missing


def test_a_rejected_draw_is_recorded_and_replaced(tiny_out: Path):
    (row,) = rows_of(tiny_out / "rejections.parquet")
    assert (row["item_id"], row["stage"], row["category"]) == ("object_00001", "generate", "angle_bracket")
    assert "at least 2 voxels" in row["message"] and "Raise the resolution" in row["message"]
    items = {row["category"]: row["item_id"] for row in rows_of(tiny_out / "manifest.parquet")}
    assert items == {"hex_nut": "object_00000", "angle_bracket": "object_00001_draw_1"}


def test_the_scene_loads_with_stock_mujoco_from_anywhere_and_stands_still(tiny_out: Path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scene = tiny_out / "scenes" / "kitchen_table"
    model = mujoco.MjModel.from_xml_path(str(scene / "scene.xml"))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    poses = rows_of(scene / "poses.parquet")
    record = json.loads((scene / "scene.json").read_text())
    assert len(poses) == 3 and [row["name"] for row in record["objects"]] == [row["object"] for row in poses]
    for row, one in zip(poses, record["objects"], strict=True):
        body = data.body(row["object"])
        assert body.xpos == pytest.approx([row["x"], row["y"], row["z"]], abs=1e-6)
        assert abs(body.xquat @ [row["qw"], row["qx"], row["qy"], row["qz"]]) == pytest.approx(1, abs=1e-9)
        assert one["position"] == [row["x"], row["y"], row["z"]] and one["asset_id"] == row["asset_id"]
        asset = load_asset(tiny_out / one["folder"])
        assert model.body(row["object"]).mass[0] == pytest.approx(asset.model.root.inertial.mass, rel=1e-9)
    begin = data.xpos.copy()
    for _ in range(round(1.0 / model.opt.timestep)):
        mujoco.mj_step(model, data)
    assert np.abs(data.xpos - begin).max() < 1e-4
    assert not data.warning.number.any()


def test_a_second_run_computes_nothing_and_changes_nothing(tiny_run: TinyRun):
    before, ledger = tree_hashes(tiny_run.out), ledger_of(tiny_run.out)
    stable = {key: value for key, value in summary_of(tiny_run.out).items() if key not in VOLATILE_FIELDS}
    code, text = tiny_run.again()
    assert code == 0, text
    assert ledger_of(tiny_run.out) == ledger
    assert tree_hashes(tiny_run.out) == before
    summary = summary_of(tiny_run.out)
    assert {key: value for key, value in summary.items() if key not in VOLATILE_FIELDS} == stable
    assert all(row["stored"] == row["calls"] for row in summary["stages"])
    assert summary["objects_per_minute"] == 0


def test_deleted_folders_are_written_again_with_the_same_bytes(tiny_run: TinyRun):
    before, ledger = tree_hashes(tiny_run.out), ledger_of(tiny_run.out)
    shutil.rmtree(tiny_run.out / rows_of(tiny_run.out / "manifest.parquet")[0]["folder"])
    code, text = tiny_run.again()
    assert code == 0, text
    assert tree_hashes(tiny_run.out) == before
    again = [row["stage"] for row in ledger_of(tiny_run.out)[len(ledger) :]]
    assert set(again) == {"publish"}, "only what writes folders runs again"


@pytest.mark.parametrize("damage", ["hull_000.obj", "model.xml", "certificate_*.json", "scene.xml", "scene.json"])
def test_damaged_folders_are_written_again_with_the_same_bytes(tiny_run: TinyRun, damage):
    before, ledger = tree_hashes(tiny_run.out), ledger_of(tiny_run.out)
    path = next(tiny_run.out.rglob(damage))
    if damage == "model.xml":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-30])
    code, text = tiny_run.again()
    assert code == 0, text
    assert "its folder is written again" in text
    assert tree_hashes(tiny_run.out) == before
    assert len(ledger_of(tiny_run.out)) == len(ledger) + 1, "only the damaged folder is written again"


def test_what_a_killed_run_left_is_swept(tiny_run: TinyRun):
    folder = tiny_run.out / rows_of(tiny_run.out / "manifest.parquet")[0]["folder"]
    for parent in (folder.parent, tiny_run.out / "scenes"):
        (parent / ".staged_x" / "collision").mkdir(parents=True)
    assert tiny_run.again()[0] == 0
    assert not list(tiny_run.out.rglob(".staged_*"))


def test_what_a_worker_left_that_was_killed_in_this_run_is_swept(tiny_run: TinyRun, monkeypatch):
    def killed(*arguments):
        (tiny_run.out / "scenes" / ".staged_x").mkdir()
        return make_scenes(*arguments)

    monkeypatch.setattr("scenegen.run.make_scenes", killed)
    assert tiny_run.again()[0] == 0
    assert not list(tiny_run.out.rglob(".staged_*"))


def test_nothing_is_written_beside_the_output_folder(tiny_run: TinyRun):
    root = tiny_run.config.parent
    assert sorted(path.name for path in root.iterdir()) == ["out", "run.yaml"]
    assert [path.name for path in (root / "out").iterdir()] == ["demo"]
    assert not list(tiny_run.out.rglob(".staged_*"))


def test_an_object_that_cannot_be_certified_gives_code_1_and_says_why(tiny_run: TinyRun, tmp_path):
    path, out = tmp_path / "thin.yaml", tmp_path / "out"
    text = "name: thin\ngenerator: {resolution: 32}\nattempts_per_object: 2\n"
    path.write_text(text + "objects: [{family: angle_bracket, count: 1, parameters: {thickness: 0.0026}}]\n")
    # What perfect solids show in the engines is known from the other run.
    shutil.copytree(tiny_run.out / STORE, out / STORE)
    done = invoke("run", str(path), "--out", str(out), "--executor", "serial")
    assert done.exit_code == 1, done.output
    assert "2 x generate: impossible parameters" in done.output
    summary = summary_of(out)
    assert (summary["requested"], summary["generated"], summary["certified"]) == (1, 2, 0)
    assert [row["item_id"] for row in rows_of(out / "rejections.parquet")] == ["object_00000", "object_00000_draw_1"]
    assert rows_of(out / "manifest.parquet") == []


def test_an_asset_changed_on_disk_is_refused(tiny_out: Path, tmp_path):
    from scenegen.errors import AssetError

    folder = shutil.copytree(tiny_out / rows_of(tiny_out / "manifest.parquet")[0]["folder"], tmp_path / "copy")
    verify_files(folder)
    urdf = folder / "model.urdf"
    urdf.write_text(urdf.read_text().replace("<mass value=", "<mass  value=", 1))
    with pytest.raises(AssetError, match=r"model\.urdf: has sha256"):
        load_asset(folder)


@pytest.mark.slow
@pytest.mark.ray
def test_ray_and_serial_write_the_same_bytes(tmp_path):
    config = ROOT / "configs" / "determinism.yaml"
    serial = make_run(tmp_path, config.read_text())
    assert serial.code == 0, serial.text
    out = tmp_path / "ray"
    command = [sys.executable, "-m", "scenegen", "run", str(config), "--out", str(out), "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    assert tree_hashes(out) == tree_hashes(serial.out)
