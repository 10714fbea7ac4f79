"""`verify --import` and `reverify`: what passes becomes an asset of ours, is used in scenes, and is judged again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from pyarrow import parquet
from test_readme import blocks_of
from test_verification import BOX, box_file, judge, urdf
from tiny_run import invoke, tree_hashes

from physics.check import Check
from scenegen import cli
from scenegen.assets.certificate import Certificate
from scenegen.assets.library import deciding_certificate, find_assets, open_asset
from scenegen.assets.package import load_asset
from scenegen.config import read_config
from scenegen.errors import AssetError, ConfigError
from scenegen.run import STORE
from scenegen.verification.change import Change
from scenegen.verification.verified import VerifiedFile

PAGE = Path(__file__).resolve().parents[1] / "docs" / "verification.md"
OPTIONS = {"units": "m", "derive_inertia": True}


@pytest.fixture(scope="module")
def folder(floors_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A crate that passes, twice; a model that passes when it is altered; an open mesh."""
    place = tmp_path_factory.mktemp("import")
    shutil.copytree(floors_store, place / "out" / STORE)
    files = place / "files"
    (files / "model").mkdir(parents=True)
    trimesh.creation.box(BOX).export(files / "crate.stl")
    (files / "again").mkdir()
    shutil.copy(files / "crate.stl", files / "again" / "crate.stl")
    opened = trimesh.creation.box(BOX)
    opened.faces = opened.faces[1:]
    opened.export(files / "open.obj")
    box_file(files / "model")
    (files / "model" / "false.urdf").write_text(urdf(scale=1000.0))
    return place


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, VerifiedFile]:
    judged = judge([folder / "files"], folder / "out", library=folder / "library", **OPTIONS)
    return {file.path.relative_to(folder / "files").as_posix(): file for file in judged}


def with_store(folder: Path, out: Path) -> Path:
    """Give an output folder what the engines showed on perfect solids, so that it is not measured again."""
    shutil.copytree(folder / "out" / STORE, out / STORE)
    return out


def test_what_passes_becomes_an_asset_and_nothing_else_does(found, folder: Path) -> None:
    crate, false = found["crate.stl"], found["model/false.urdf"]
    assert (crate.verdict, false.verdict, found["open.obj"].verdict) == ("PASS", "WARN", "FAIL")
    assert found["open.obj"].folder is None and crate.folder == found["again/crate.stl"].folder
    assert find_assets(folder / "library") == sorted([crate.folder, false.folder], key=lambda path: path.name)
    for file in (crate, false):
        assert file.folder is not None and file.certificate is not None
        asset, certificate = open_asset(file.folder)
        names = {path.name for path in file.folder.iterdir()}
        assert {"visual.glb", "model.xml", "model.urdf", "collision", "asset.json"} < names
        assert "volume.npz" not in names and not asset.volumes and asset.rest_poses
        assert certificate.verdict == file.certificate.verdict
        assert {check.id for check in certificate.checks} >= {"X1", "X2", "X3", "X4"}
    rows = parquet.read_table(folder / "library" / "manifest.parquet").to_pylist()
    assert {(row["category"], row["generator"], row["verdict"]) for row in rows} == {
        ("crate", "import", "PASS"),
        ("false", "import", "WARN"),
    }


def test_the_file_and_what_was_altered_are_recorded(found) -> None:
    crate, false = (load_asset(found[name].folder) for name in ("crate.stl", "model/false.urdf"))
    assert crate.provenance.origin.file == "crate.stl" and len(crate.provenance.origin.sha256) == 64
    assert not crate.provenance.origin.altered and crate.licence == "NOASSERTION"
    (altered,) = false.provenance.origin.altered
    assert altered.startswith("altered: ")
    assert deciding_certificate(found["model/false.urdf"].folder).fallbacks == (altered,)


def test_the_order_of_files_changes_no_byte_and_a_second_import_adds_nothing(found, folder: Path) -> None:
    paths = [folder / "files" / name for name in ("model", "again/crate.stl", "crate.stl")]
    other = folder / "other"
    judge(paths, folder / "out", library=other, **OPTIONS)
    assert tree_hashes(other) == tree_hashes(folder / "library")
    times = {path: path.stat().st_mtime_ns for path in other.rglob("*") if path.suffix != ".parquet"}
    judge(paths, folder / "out", library=other, **OPTIONS)
    assert times == {path: path.stat().st_mtime_ns for path in other.rglob("*") if path.suffix != ".parquet"}


@pytest.mark.slow
def test_an_asset_that_was_taken_out_comes_back(found, folder: Path) -> None:
    library = folder / "shrunk"
    shutil.copytree(folder / "library", library)
    judge([folder / "files" / "crate.stl"], folder / "out", library=library, **OPTIONS)
    shutil.rmtree(library / found["crate.stl"].folder.relative_to(folder / "library"))
    (file,) = judge([folder / "files" / "crate.stl"], folder / "out", library=library, **OPTIONS)
    assert open_asset(file.folder)[0].family == "crate" and len(find_assets(library)) == 2


def test_a_folder_of_that_name_with_something_else_is_an_error(found, folder: Path) -> None:
    library = folder / "taken"
    place = library / found["crate.stl"].folder.relative_to(folder / "library")
    shutil.copytree(found["model/false.urdf"].folder, place)
    with pytest.raises(AssetError, match=r"in the place of the one in crate\.stl"):
        judge([folder / "files" / "crate.stl"], folder / "out", library=library, **OPTIONS)
    (place / "model.xml").write_text("<mujoco/>")
    with pytest.raises(AssetError, match=r"does not hold it: .*Take the folder away"):
        judge([folder / "files" / "crate.stl"], folder / "out", library=library, **OPTIONS)


def test_folders_that_take_no_assets_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "summary.json").write_text("{}")
    for name, message in (("file", "is a file"), ("run", "is the output of a run")):
        with pytest.raises(ConfigError, match=message):
            judge([folder / "files" / "crate.stl"], folder / "out", library=tmp_path / name, **OPTIONS)


def test_scenes_use_imported_assets(found, folder: Path) -> None:
    out = with_store(folder, folder / "run")
    config = folder / "run.yaml"
    scene = "scenes: [{name: s, layout: tabletop, objects: 3, options: {poured_share: 0.0}}]"
    config.write_text(f"name: imported\nassets: {{import: {folder / 'library'}}}\n{scene}\n")
    done = invoke("run", str(config), "--out", str(out), "--executor", "serial")
    assert done.exit_code == cli.DONE, done.output
    record = json.loads((out / "scenes" / "s" / "scene.json").read_text())
    assert {one["category"] for one in record["objects"]} == {"crate", "false"}
    assert {folder.name for folder in find_assets(out)} == {one["asset_id"] for one in record["objects"]}
    assert all(open_asset(folder) for folder in find_assets(out))
    assert parquet.read_table(out / "manifest.parquet").num_rows == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("assets: {import: nowhere}", "assets.import: 'nowhere' is not a folder; give the folder of 'scenegen verify"),
        ("assets: {import: .}", "assets.import: '.' holds no assets; give the folder of"),
        ("assets: {imprt: x}", "assets.imprt is not a key of assets. Did you mean 'import'? Keys: import"),
        ("assets: {import: 3}", "assets.import is 3 (a whole number), expected text"),
        ("assets: []", "assets is [] (a list), expected a mapping"),
        ("assets: {}", "objects is missing; say what to draw, or use assets that are there: assets.import"),
    ],
)
def test_bad_libraries_in_a_configuration_are_one_clear_error(text, message, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        read_config(f"name: a\n{text}\n", source="run.yaml")
    assert message in str(caught.value)


def test_what_is_not_certified_is_not_used(found, folder: Path) -> None:
    library = folder / "refused"
    shutil.copytree(folder / "library", library)
    place = library / found["crate.stl"].folder.relative_to(folder / "library")
    next(place.glob("certificate_*.json")).unlink()
    with pytest.raises(AssetError, match="holds no certificate"):
        open_asset(place)


def test_nothing_changes_when_nothing_changed(found, folder: Path) -> None:
    library = folder / "judged_again"
    shutil.copytree(folder / "library", library)
    with_store(folder, library)
    hull = next(place for place in find_assets(library) if place != found["crate.stl"].folder)
    done = invoke("reverify", str(library), "--executor", "serial")
    assert done.exit_code == cli.DONE and "2 same" in done.output, done.output
    record = json.loads((library / "reverification.json").read_text())
    assert all(row["checks"] == [] and not row["worse"] for row in record["subjects"])
    before = tree_hashes(folder / "library")
    assert {name: value for name, value in tree_hashes(library).items() if name != "reverification.json"} == before
    # A file that was changed is a verdict that got worse; the other asset is still judged.
    next((hull / "collision").glob("*.obj")).write_text("v 0 0 0\n")
    done = invoke("reverify", str(library), "--executor", "serial", "--write")
    assert done.exit_code == cli.NOT_CERTIFIED and "1 worse, 1 same" in done.output, done.output
    assert "it was changed after it was written" in (library / "reverification.json").read_text()


def test_a_verification_is_judged_again(found, folder: Path) -> None:
    judge([folder / "files"], folder / "out", **OPTIONS)  # evidence of all files, whatever other tests judged there
    done = invoke("reverify", str(folder / "out"), "--executor", "serial")
    assert done.exit_code == cli.DONE and "4 same" in done.output, done.output
    gone = folder / "files" / "open.obj"
    gone.rename(folder / "open.obj")
    done = invoke("reverify", str(folder / "out"), "--executor", "serial")
    (folder / "open.obj").rename(gone)
    assert done.exit_code == cli.NOT_CERTIFIED and "FAIL -> unreadable" in done.output


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_folder_without_verdicts_is_the_users_mistake(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = invoke("reverify", str(tmp_path / name), "--executor", "serial")
    assert done.exit_code == cli.USER_ERROR and name in done.output


def test_the_page_of_verification_runs_as_it_stands(found, folder: Path) -> None:
    (code,) = [content for language, content in blocks_of(PAGE.read_text()) if language == "python"]
    place = folder / "page"
    with_store(folder, place / "out" / "verified")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=place, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("PASS") and "from crate.stl" in done.stdout
    text = PAGE.read_text()
    assert all(name in text for name in ("--import", "scenegen reverify", "reverification.json"))
    config = next(content for language, content in blocks_of(text) if language == "yaml")
    assert read_config(config.replace("out/library", str(place / "out" / "library"))).scenes


@pytest.mark.slow
def test_drawn_assets_are_judged_the_same_from_their_files(tiny_out: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_out, tmp_path / "run")
    done = invoke("reverify", str(tmp_path / "run"), "--executor", "serial")
    assert done.exit_code == cli.DONE, done.output
    for row in json.loads((tmp_path / "run" / "reverification.json").read_text())["subjects"]:
        assert {check["id"] for check in row["checks"]} <= {"G8"}


def test_changes_say_what_changed_and_by_how_much() -> None:
    check = Check("D4", "rest penetration", 0.01, "1", 0.02, body="crate", engine="mujoco")
    old = Certificate("a" * 32, (("mujoco", "4.0.0"),), ("crate",), (check, replace(check, id="D6", value=np.nan)))
    new = replace(old, engines=(("mujoco", "4.1.0"),), checks=(replace(check, value=0.03), old.checks[1]))
    change = Change("assets/aa/a", "crate", old, new)
    (only,) = change.checks
    assert only.describe() == "D4 rest penetration [crate mujoco]: PASS 0.01 1 -> FAIL 0.03 1"
    assert change.engines == ({"mujoco": "4.0.0"}, {"mujoco": "4.1.0"})
    assert Change("a", "a", old, None).worse and not Change("a", "a", None, old).worse
    assert not Change("a", "a", old, old).worse and not Change("a", "a", old, old).checks
