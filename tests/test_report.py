"""`scenegen report`: what a run and a verification become, in every format, and that no name of a file is markup."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest
import trimesh
from pyarrow import parquet
from rich.console import Console
from tiny_run import invoke

from physics.check import Check
from physics.mesh import Mesh
from scenegen.assets.build import Draft
from scenegen.assets.certificate import REQUIRED_CHECKS
from scenegen.errors import AssetError, CorruptRecordError, ReportError, StoreError
from scenegen.pipeline.outcomes import OUTCOMES, read_outcomes
from scenegen.pipeline.run_serial import run_serial
from scenegen.pipeline.store import Store
from scenegen.reports.distribution import SpreadCollector, bin_edges, describe_spread
from scenegen.reports.folders import without_folders
from scenegen.reports.meanings import MEANINGS
from scenegen.reports.progress import RunProgress
from scenegen.reports.replay import replay_drops
from scenegen.reports.report import schema, write_report
from scenegen.reports.report_source import open_source
from scenegen.reports.site import WEB, script
from scenegen.reports.verification import write_verification
from scenegen.reports.web_scene import MOST_FACES, display_mesh
from scenegen.run import STORE
from scenegen.verification.evidence import EVIDENCE
from scenegen.verification.request import VerifyOptions
from scenegen.verification.verify import verify_files

BOX = (0.06, 0.04, 0.1)
MARKUP = "<img src=x onerror=alert(1)>|`x`"


@pytest.fixture(scope="module")
def verified(tiny_out: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A verification of a good, an open and an unreadable file, with its report."""
    files, out = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("verified")
    trimesh.creation.box(BOX).export(files / "good.stl")
    opened = trimesh.creation.box(BOX)
    opened.faces = opened.faces[1:]
    opened.export(files / "open.obj")
    (files / f"{MARKUP}.obj").write_text("v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    shutil.copytree(tiny_out / STORE, out / STORE)  # holds the engine floors
    with RunProgress(Console(quiet=True)) as progress:
        write_verification(verify_files([files], out, VerifyOptions(units="m"), run_serial, progress), out)
    write_report(out)
    return out


@pytest.fixture(scope="module")
def run_out(tiny_out: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the small run, with its report."""
    out = tmp_path_factory.mktemp("run") / "demo"
    shutil.copytree(tiny_out, out)
    result = invoke("report", str(out))
    assert result.exit_code == 0 and "index.html" in result.output, result.output
    return out


def content_of(out: Path) -> dict:
    return json.loads((out / "report" / "report.json").read_text())


def data_of(out: Path, name: str) -> dict:
    """Return what a data script hands to the page."""
    text = (out / "report" / "data" / f"{name}.js").read_text("ascii")
    return json.loads(re.sub(r"^(//.*\n)?\w+\(", "", text).rstrip().removesuffix(");"))


@pytest.mark.parametrize("which", ["verified", "run_out"])
def test_formats_hold_the_same_assets_and_follow_the_schema(which: str, request) -> None:
    out = request.getfixturevalue(which)
    content = content_of(out)
    published = json.loads((out / "report" / "report_schema.json").read_text())
    assert published == schema()
    jsonschema.Draft202012Validator.check_schema(published)
    jsonschema.Draft202012Validator(published).validate(content)
    names = [asset["id"] for asset in content["assets"]]
    assert len(names) == len(set(names)) == sum(content["totals"].values())
    assert parquet.read_table(out / "report" / "report.parquet").column("id").to_pylist() == names
    index = data_of(out, "index")
    assert [row[index["columns"].index("id")] for row in index["assets"]] == names
    pages = {path.stem for path in (out / "report" / "data").glob("*.js")} - {"index"}
    assert pages == set(names)
    for asset in content["assets"]:
        shown = data_of(out, asset["id"])
        assert shown["status"] == asset["status"] and set(shown["meanings"]) == {c["id"] for c in shown["checks"]}
        assert (out / "report" / "pictures" / f"{asset['id']}.webp").exists() == (shown["scene"] is not None)


def test_a_verification_tells_every_file_and_its_reason(verified: Path) -> None:
    content = content_of(verified)
    assert content["totals"] == {"PASS": 1, "FAIL": 1, "unreadable": 1}
    assert [step["count"] for step in content["funnel"]] == [3, 2, 1, 1, 1, 1, 1]
    reasons = {entry["reason"] for entry in content["reasons"]}
    assert "unreadable" in reasons and any(reason.startswith("G2 ") for reason in reasons)
    good = next(asset for asset in content["assets"] if asset["status"] == "PASS")
    assert good["mass_kg"] == pytest.approx(710 * np.prod(BOX), rel=1e-6) and good["hulls"] == 1
    assert all(None not in pair for pair in good["engines"].values())
    shown = data_of(verified, good["id"])
    assert shown["scene"]["mass"]["box_m"] == pytest.approx(sorted(BOX, reverse=True), rel=1e-6)
    assert shown["scene"]["rest_poses"] and {drop["engine"] for drop in shown["drops"]} == {"mujoco", "pybullet"}
    suite = ElementTree.parse(verified / "report" / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("3", "2")


def test_a_run_tells_certified_and_refused_objects(run_out: Path) -> None:
    content, summary = content_of(run_out), json.loads((run_out / "summary.json").read_text())
    accepted = [asset for asset in content["assets"] if asset["accepted"]]
    refused = [asset for asset in content["assets"] if asset["status"] == "rejected"]
    assert len(accepted) == summary["certified"] == content["funnel"][-1]["count"]
    assert len(refused) == sum(summary["rejected"].values()) > 0
    assert all(asset["rejection"]["stage"] and asset["worst"] for asset in refused)
    left = [step["count"] for step in content["funnel"][1:]]
    assert left[0] == summary["generated"] and left == sorted(left, reverse=True)
    shown = data_of(run_out, accepted[0]["id"])
    assert all((run_out / "report" / file["path"]).resolve().is_file() for file in shown["files"])
    assert len(shown["scene"]["replays"]) == 2 and shown["drops"]
    suite = ElementTree.parse(run_out / "report" / "junit.xml").getroot()
    assert suite.get("tests") == "3" and suite.get("failures") == "0"  # two objects that were asked for, and a scene


def test_names_of_files_are_never_markup(verified: Path) -> None:
    assert any(asset["name"].startswith(MARKUP) for asset in content_of(verified)["assets"])
    for page in ("index.html", "asset.html", "scene.html"):
        assert (verified / "report" / page).read_bytes() == (WEB / page).read_bytes()
    for path in (verified / "report" / "data").glob("*.js"):
        assert "<" not in path.read_text("ascii")
    assert not re.search(r"(?<!\\)[<|`]img|(?<!\\)<", (verified / "report" / "report.md").read_text())


@pytest.mark.parametrize("text", ["</script><b>", "\u2028\u2029", "<!--", "\ud800", '"', "\\", "');alert(1)//"])
def test_any_text_survives_a_script_and_cannot_end_it(text: str) -> None:
    data = script("f", {"name": text}).decode("ascii")
    assert "<" not in data and "\u2028" not in data
    assert json.loads(data.removeprefix("f(").rstrip().removesuffix(");"))["name"] == text


def test_pages_build_elements_from_text_only() -> None:
    for path in WEB.glob("*.js"):
        code = path.read_text()
        for banned in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "fetch(",
        ):
            assert banned not in code, f"{path.name} uses {banned}"


def test_the_same_report_again_keeps_what_did_not_change(verified: Path) -> None:
    folder = verified / "report"
    before = {path: path.stat().st_mtime_ns for path in (folder / "data").glob("asset_*.js")}
    (folder / "data" / "asset_00099.js").write_text("of a file that is gone")
    write_report(verified)
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "data").glob("asset_*.js")}


def test_what_holds_no_results_is_refused(verified: Path, run_out: Path, tmp_path: Path) -> None:
    result = invoke("report", str(tmp_path))
    assert result.exit_code == 2 and "summary.json" in result.output and EVIDENCE in result.output
    (tmp_path / EVIDENCE).write_text("{")
    with pytest.raises(AssetError, match="cannot be read"):
        open_source(tmp_path)
    (tmp_path / EVIDENCE).unlink()
    shutil.copy(verified / "verification.json", tmp_path)
    with pytest.raises(ReportError, match="run the same 'scenegen verify' again"):
        open_source(tmp_path)
    shutil.copytree(run_out / STORE, tmp_path / STORE)
    (tmp_path / STORE / OUTCOMES).write_text('{"format": 1, "items": [{}]}')
    with pytest.raises(StoreError, match="is damaged"):
        read_outcomes(Store(tmp_path / STORE))


def test_a_shape_outlives_the_version_that_kept_it(verified: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(verified, old, ignore=shutil.ignore_patterns("report"))
    store = Store(old / STORE, create=False)
    evidence = json.loads((old / EVIDENCE).read_text())
    (row,) = [row for row in evidence["files"] if row["path"].endswith("good.stl")]
    draft = old / STORE / "objects" / row["draft"][:2] / row["draft"]
    content = json.loads(draft.read_bytes())
    for record in content["record"]["drops"]:
        record["measured_in_another_version"] = 1.0
    row["draft"] = hashlib.sha256(data := json.dumps(content).encode()).hexdigest()
    (old / EVIDENCE).write_text(json.dumps(evidence))
    changed = old / STORE / "objects" / row["draft"][:2] / row["draft"]
    changed.parent.mkdir(exist_ok=True)
    changed.write_bytes(data)
    with pytest.raises(CorruptRecordError, match="measured_in_another_version"):
        store.load(row["draft"], Draft)
    write_report(old)
    (asset,) = [asset for asset in content_of(old)["assets"] if asset["name"] == "good.stl"]
    shown, kept = data_of(old, asset["id"]), data_of(verified, asset["id"])
    assert shown["scene"]["parts"] == kept["scene"]["parts"] and shown["drops"] and not shown["scene"]["rest_poses"]
    assert [r["poses"][0] for r in shown["scene"]["replays"]] == [r["poses"][0] for r in kept["scene"]["replays"]]
    assert "another version" in shown["notes"][-1]
    changed.write_text("{}")
    write_report(old)
    assert data_of(old, asset["id"])["scene"] is None and content_of(old)["totals"] == content_of(verified)["totals"]


@pytest.mark.parametrize("which", ["verified", "run_out"])
def test_no_folder_of_the_machine_is_told(which: str, request) -> None:
    out: Path = request.getfixturevalue(which)
    content = content_of(out)
    assert "/" not in content["name"] and all("/" not in asset["name"].replace("</", "") for asset in content["assets"])
    for path in (out / "report").rglob("*"):
        if path.is_file() and path.suffix in (".js", ".json", ".md", ".xml") and path.parent.name != "vendor":
            text = path.read_text("utf-8")
            for folder in (str(out.parent), tempfile.gettempdir() + "/", str(Path.home() / "x")[:-1], sys.prefix):
                assert folder not in text, f"{path.name} tells of {folder}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/data/robots/a b/part.stl: the file is empty", "part.stl: the file is empty"),
        ("/data/robots/a b/meshes/part.stl: vertex 0", "meshes/part.stl: vertex 0"),
        ('File "/usr/lib/python3/x.py", line 3', 'File "x.py", line 3'),
        ("no mesh (/etc/x/y.obj)", "no mesh (y.obj)"),
        ("C:\\Users\\me\\part.stl: no", "part.stl: no"),
        ("at 2 m/s, 3 / 4 of 1e3 kg/m^3 and/or N/m", "at 2 m/s, 3 / 4 of 1e3 kg/m^3 and/or N/m"),
    ],
)
def test_texts_name_files_without_their_folders(text: str, told: str) -> None:
    assert without_folders(text, Path("/data/robots/a b")) == told


def test_a_report_may_go_elsewhere(run_out: Path, tmp_path: Path) -> None:
    result = invoke("report", str(run_out), "--out", str(tmp_path / "page"))
    assert result.exit_code == 0 and (tmp_path / "page" / "index.html").is_file()
    pages = [
        json.loads(path.read_text("ascii").split("(", 1)[1].rstrip().removesuffix(");"))
        for path in (tmp_path / "page" / "data").glob("object_*.js")
    ]
    links = [file["path"] for page in pages for file in page["files"]]
    assert links and all((tmp_path / "page" / link).resolve().is_file() for link in links)


def test_a_run_without_kept_outcomes_shows_what_its_folders_hold(run_out: Path, tmp_path: Path) -> None:
    out = tmp_path / "old"
    shutil.copytree(run_out, out, ignore=shutil.ignore_patterns("report", ".store"))
    write_report(out)
    (asset, *_) = [asset for asset in content_of(out)["assets"] if asset["accepted"]]
    shown = data_of(out, asset["id"])
    assert shown["drops"] and shown["scene"]["replays"]  # from the certificate, and drawn as the drop test drew it
    kept = data_of(run_out, asset["id"])["scene"]["replays"]
    assert [r["poses"][0] for r in shown["scene"]["replays"]] == [r["poses"][0] for r in kept]


def test_replays_follow_the_recorded_drop(verified: Path) -> None:
    (entry,) = [entry for entry in open_source(verified).entries() if entry.status == "PASS"]
    replays = replay_drops(entry)
    assert [replay.start[:6] for replay in replays] == ["random", "stable"]
    recorded = {drop.name: drop for drop in entry.drops[0].drops}
    for replay in replays:
        start = recorded[replay.start].start.X_WB
        assert np.array_equal(replay.positions[0], start.position)
        assert (np.diff(replay.times) > 0).all()
        assert not replay.rest_gap > 1e-3 * max(BOX)


@pytest.mark.parametrize("closed", [True, False])
def test_surfaces_for_the_view_have_few_faces_and_the_same_shape(closed: bool) -> None:
    ball = trimesh.creation.icosphere(5, 0.05)
    faces = ball.faces if closed else ball.faces[1:]
    shown = display_mesh(Mesh(ball.vertices, np.asarray(faces, np.int32)))
    assert len(ball.faces) > 2 * MOST_FACES and 300 < len(shown.faces) <= MOST_FACES
    assert np.abs(np.linalg.norm(shown.vertices, axis=1) - 0.05).max() < 0.002
    assert shown.bounds == pytest.approx(ball.bounds, abs=0.002)


def test_distributions_count_every_value_and_show_the_limit() -> None:
    rng = np.random.default_rng(0)
    spread = SpreadCollector()
    for value in [0.0, *10 ** rng.uniform(-6, -1.5, 400)]:
        spread.add(
            [
                Check("D4", "depth", float(value), "1", 0.01, warn=0.005),
                Check("D3", "time", 0.5 + value, "s", value + 1),
            ]
        )
    depth, time = (describe_spread(one) for one in spread.spreads())
    assert depth["logarithmic"] and depth["below"] == 1 and depth["limit"] == 0.01 and depth["warn"] == 0.005
    assert sum(entry["count"] for entry in depth["bins"]) + depth["below"] == depth["assets"] == 401
    assert depth["edges"][0] < depth["limit"] < depth["edges"][-1]
    # Limits that differ between assets make shares of their own limit.
    assert time["unit"] == "share of the limit" and time["limit"] == 1.0


@pytest.mark.parametrize("values", [[0.0, 0.0], [1e-12, 5.0], [-1.0, 2.0], [3.0]])
def test_edges_rise_and_hold_all_values_or_cut_a_long_axis(values: list[float]) -> None:
    edges, logarithmic = bin_edges(np.array(values), [1.0])
    assert (np.diff(edges) > 0).all() and edges[-1] >= max(*values, 1.0)
    assert logarithmic or edges[0] <= min(values)


def test_every_check_has_a_meaning(verified: Path, run_out: Path) -> None:
    made = {check.id for out in (verified, run_out) for entry in open_source(out).entries() for check in entry.checks}
    assert made | set(REQUIRED_CHECKS) <= set(MEANINGS)


def test_libraries_are_those_that_are_written_down() -> None:
    vendor = WEB / "vendor"
    readme, licences = (vendor / "README.md").read_text(), (vendor / "LICENSES.txt").read_text()
    for path in vendor.glob("*.min.js"):
        assert f"`{hashlib.sha256(path.read_bytes()).hexdigest()}`" in readme
    for name, version in json.loads((vendor / "package.json").read_text())["devDependencies"].items():
        assert version in readme and (name == "esbuild" or f"{name} {version} (" in licences)
    assert sum(path.stat().st_size for path in vendor.iterdir()) < 1.5 * 2**20
