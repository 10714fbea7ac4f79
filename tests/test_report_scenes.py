"""Scenes in a report: the facts of scene.json in every format, damage told, names never markup, many objects."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pyarrow as pa
import pytest
from hall import LARGE, SMALL, add_scene, make_hall, make_many, rewrite
from pyarrow import parquet
from scene_assets import plain_assets
from tiny_run import invoke

from physics.check import Check
from physics.pose import Pose
from scenegen.assets.package import load_asset
from scenegen.reports.meanings import MEANINGS, UNKNOWN
from scenegen.reports.placed_asset import outermost
from scenegen.reports.report import schema, write_report
from scenegen.reports.report_scene import read_scene
from scenegen.reports.scene_entry import PoseTable, closest_check, share_of_limit
from scenegen.reports.scene_plan import ALONE, LEVELS
from scenegen.reports.scene_row import scene_row
from scenegen.reports.scene_text import scene_line
from scenegen.run import MANIFEST

# The first test waits for a run and a large scene in both engines, on a machine that others use too.
pytestmark = pytest.mark.timeout(900)

MARKUP = "</script><img src=x onerror=alert(1)>|`x`"
MANY = 10_000
PAGE_BYTES = 2**20
"""Limit of the data of the page of a scene of MANY objects [byte]."""
REFUSED = "rejected: does not fit: {} objects of /data/robots/shelf.obj do not fit"


@pytest.fixture(scope="module")
def hall(tiny_out: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a small, a large and a refused scene, with its report."""
    out = make_hall(tiny_out, tmp_path_factory.mktemp("hall") / "hall")
    add_scene(out, "too_full", REFUSED.format(50))
    result = invoke("report", str(out))
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture
def copied(hall: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    return Path(shutil.copytree(hall, tmp_path / "hall"))


def rows_of(out: Path) -> dict[str, dict]:
    content = json.loads((out / "report" / "report.json").read_text())
    jsonschema.Draft202012Validator(schema()).validate(content)
    return {row["name"]: row for row in content["scenes"]}


def page_of(out: Path, name: str) -> dict:
    text = (out / "report" / "data" / "scenes" / f"{name}.js").read_text("ascii")
    return json.loads(re.sub(r"^//.*\n\w+\(", "", text).rstrip().removesuffix(");"))


def record_of(out: Path, name: str) -> dict:
    return json.loads((out / "scenes" / name / "scene.json").read_text())


def unpacked(text: str, kind: str, width: int = 1) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind).reshape(-1, width)


# ---- facts ----------------------------------------------------------------------------------------------------


def test_a_large_scene_is_told_as_its_record_says(hall: Path) -> None:
    row, record = rows_of(hall)[LARGE], record_of(hall, LARGE)
    for name in ("layout", "objects", "assets", "geoms", "replaced", "merged", "seed", "ground"):
        assert row[name] == record[name], name
    for name in ("alone", "in_components", "components", "largest_component", "sampled", "stances"):
        assert row[name] == record["counts"][name], name
    assert row["status"] == record["verdict"] == "PASS" and row["accepted"] and not row["worst"]
    assert row["touching_share"] == record["counts"]["touching"] / record["objects"]
    assert row["furniture"] == len(record["fixtures"])
    stated = [(check["id"], check.get("engine", ""), check["value"], check["limit"]) for check in record["checks"]]
    assert [(check["id"], check["engine"], check["value"], check["limit"]) for check in row["checks"]] == stated
    assert row["engines"] == [f"{one['name']} {one['version']}" for one in record["verified_in"]]
    table = parquet.read_table(hall / "scenes" / LARGE / "poses.parquet").to_pylist()
    members = Counter(line["component"] for line in table if line["component"])
    sizes = Counter(members.values()) + Counter({1: record["counts"]["alone"]})
    assert {one["size"]: one["count"] for one in row["component_sizes"]} == sizes
    assert row["families"] == Counter(line["category"] for line in table)
    listed = {load_asset(hall / folder).asset_id: folder for folder in manifest(hall)}
    known = [line for line in table if line["asset_id"] in listed]
    assert 0 < len(known) < len(table) == len(known) + row["unlisted"], "the plain assets are not in this run's table"
    materials: Counter[str] = Counter()
    for line in known:
        parts = load_asset(hall / line["folder"]).model.root.parts
        materials.update({part.material.name for part in parts})
    assert row["materials"] == materials and row["mass_kg"] is None


def manifest(out: Path) -> list[str]:
    return parquet.read_table(out / MANIFEST).column("folder").to_pylist()


def test_what_a_record_of_before_did_not_count_is_not_known(hall: Path) -> None:
    entry = read_scene(hall, LARGE)
    assert entry.counts is not None
    old = replace(entry, counts={name: count for name, count in entry.counts.items() if name != "touching"})
    row = scene_row(old, {})
    assert row["touching_share"] is None and row["in_components"] == entry.counts["in_components"]
    assert scene_line(row)[5] == "-"


def test_a_small_scene_is_told_as_its_record_says(hall: Path) -> None:
    row, record = rows_of(hall)[SMALL], record_of(hall, SMALL)
    assert row["status"] == record["verdict"] and row["layout"] == record["layout"] == "tabletop"
    assert row["objects"] == row["asked"] == len(record["objects"]) == 3
    assert row["replaced"] == [] and len(row["checks"]) == len(record["checks"])
    assert row["components"] is row["touching_share"] is row["geoms"] is None
    mass = sum(load_asset(hall / one["folder"]).model.root.inertial.mass for one in record["objects"])
    assert row["mass_kg"] == pytest.approx(mass, rel=1e-12) and row["unlisted"] == 0
    assert row["notes"] and row["folder"] == f"scenes/{SMALL}"


def test_objects_that_were_replaced_are_told_with_their_reason(copied: Path) -> None:
    fell = {"round": 2, "object": "object_001", "asset_id": "a1", "reason": "fell by 0.7 m", "replacement": "b2"}
    rewrite(copied, SMALL, record=lambda content: content["events"].extend([fell, {**fell, "replacement": ""}]))
    rewrite(copied, LARGE, record=lambda content: content["replaced"].append("x: tipped"))
    write_report(copied)
    rows = rows_of(copied)
    told = "object_001 (asset a1, round 2): fell by 0.7 m"
    assert rows[SMALL]["replaced"] == [f"{told}; asset b2 took its place", f"{told}; nothing took its place"]
    assert rows[LARGE]["replaced"] == ["x: tipped"]
    index = (copied / "report" / "data" / "index.js").read_text()
    assert '"replaced":2' in index and '"replaced":1' in index


def test_a_refused_scene_says_why_without_folders(hall: Path) -> None:
    row = rows_of(hall)["too_full"]
    assert row["status"] == "rejected" and not row["accepted"] and row["objects"] is None
    assert row["worst"] == "does not fit: 50 objects of shelf.obj do not fit"
    assert page_of(hall, "too_full")["plan"] is None


def test_every_format_tells_every_scene(hall: Path) -> None:
    rows = rows_of(hall)
    assert list(rows) == [SMALL, LARGE, "too_full"]
    text = (hall / "report" / "report.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith(f"| {LARGE} |"))
    large = rows[LARGE]
    assert f"| {large['objects']} | {large['assets']} | {100 * large['touching_share']:.1f} % |" in line
    suite = ElementTree.parse(hall / "report" / "junit.xml").getroot()
    cases = {case.get("name"): case for case in suite if case.get("classname") == "scene"}
    assert set(cases) == set(rows)
    facts = {one.get("name"): one.get("value") for one in cases[LARGE].iter("property")}
    assert facts["objects"] == str(large["objects"]) and facts["components"] == str(large["components"])
    assert "geoms" not in {one.get("name") for one in cases[SMALL].iter("property")}, "what is not known is left out"
    failure = cases["too_full"].find("failure")
    assert failure is not None and "does not fit" in failure.get("message", "")
    assert cases[LARGE].find("failure") is cases[SMALL].find("failure") is None
    index = (hall / "report" / "data" / "index.js").read_text()
    assert all(f'"name":"{name}"' in index for name in rows)


def test_links_and_lines_lead_to_files(hall: Path) -> None:
    import mujoco

    for name in (LARGE, SMALL):
        page = page_of(hall, name)
        links = [one["path"] for one in (*page["files"], *page["pictures"])] + [one["full"] for one in page["pictures"]]
        assert links and all((hall / "report" / link).resolve().is_file() for link in links)
        assert (hall / "report" / "pictures" / "scenes" / f"{name}.webp").is_file()
        code = next(one["code"] for one in page["loading"] if one["label"] == "MuJoCo")
        path = re.fullmatch(r'mujoco\.MjModel\.from_xml_path\("(.*)"\)', code)
        assert path is not None and mujoco.MjModel.from_xml_path(str(hall / path[1])).nbody > 3
    assert [one["label"] for one in page_of(hall, LARGE)["pictures"]][:2] == ["obliquely from above", "from above"]


def test_every_check_of_a_scene_has_a_meaning(hall: Path) -> None:
    for name in (LARGE, SMALL):
        page = page_of(hall, name)
        assert set(page["meanings"]) == {check["id"] for check in page["checks"]} <= set(MEANINGS)
        assert UNKNOWN not in page["meanings"].values()


# ---- plan -----------------------------------------------------------------------------------------------------


def test_the_plan_holds_the_poses_and_links_the_assets(hall: Path) -> None:
    plan = page_of(hall, LARGE)["plan"]
    table = parquet.read_table(hall / "scenes" / LARGE / "poses.parquet").to_pylist()
    assert plan["names"] == [line["object"] for line in table]
    places = np.array([[line[axis] for axis in "xyz"] for line in table])
    turns = np.array([[line[axis] for axis in ("qw", "qx", "qy", "qz")] for line in table])
    assert np.abs(unpacked(plan["positions"], "<f4", 3) - places).max() < 1e-6
    assert np.abs(unpacked(plan["quaternions"], "<i2", 4) / LEVELS - turns).max() < 1 / LEVELS
    owners = unpacked(plan["component_of"], "<u2")[:, 0]
    named = ["" if owner == ALONE else plan["components"][owner] for owner in owners]
    assert named == [line["component"] for line in table]
    pages = {row["asset_id"]: row["id"] for row in json.loads((hall / "report" / "report.json").read_text())["assets"]}
    for line, number in zip(table, unpacked(plan["asset_of"], "<u2")[:, 0], strict=True):
        asset = plan["assets"][number]
        assert (asset["family"], asset["page"]) == (line["category"], pages.get(line["asset_id"]))
        if asset["page"] is not None:
            points = unpacked(asset["points"], "<i2", 3) * asset["scale"]
            bounds = load_asset(hall / line["folder"]).model.root.parts[0].surface.bounds
            assert np.abs(np.stack([points.min(0), points.max(0)]) - bounds).max() < 0.02 * np.ptp(bounds)


def test_outermost_points_of_a_box_are_its_corners() -> None:
    brick = plain_assets()[0].model.root.parts[0].surface.vertices
    inside = 0.9 * brick.mean(axis=0) + 0.1 * brick
    kept = outermost(np.concatenate([inside, brick]))
    assert sorted(map(tuple, kept)) == sorted(map(tuple, brick))


def test_ten_thousand_objects_make_a_small_page(hall: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(hall, tmp_path / "hall"))
    make_many(out, "many", MANY)
    write_report(out)
    row = rows_of(out)["many"]
    assert row["objects"] == MANY == row["alone"] + row["in_components"]
    assert MANY == sum(one["size"] * one["count"] for one in row["component_sizes"])
    size = (out / "report" / "data" / "scenes" / "many.js").stat().st_size
    print(f"page data of {MANY} objects: {size} bytes")
    assert size < PAGE_BYTES
    index = (out / "report" / "data" / "index.js").stat().st_size
    assert index - (hall / "report" / "data" / "index.js").stat().st_size < 1000, "the first page stays small"


# ---- text from files ------------------------------------------------------------------------------------------


def test_names_of_objects_are_never_markup(copied: Path) -> None:
    def hostile(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        rows[0] |= {"object": MARKUP, "category": MARKUP}
        return pa.Table.from_pylist(rows)

    def record(content: dict) -> None:
        content["replaced"].append(f"{MARKUP}: fell")
        content["checks"][0]["detail"] = MARKUP

    rewrite(copied, LARGE, record=record, table=hostile)
    add_scene(copied, "too_full", f"rejected: {MARKUP}")
    write_report(copied)
    for path in (copied / "report" / "data").rglob("*.js"):
        assert "<" not in path.read_text("ascii")
    page = page_of(copied, LARGE)
    assert MARKUP in page["plan"]["names"] and MARKUP in page["families"] and page["replaced"][-1] == f"{MARKUP}: fell"
    assert not re.search(r"(?<!\\)<", (copied / "report" / "report.md").read_text())
    suite = ElementTree.parse(copied / "report" / "junit.xml").getroot()
    assert any(MARKUP in (one.get("message") or "") for one in suite.iter("failure"))


def test_a_scene_that_cannot_name_a_file_is_refused(copied: Path) -> None:
    add_scene(copied, "../outside", "rejected: x")
    result = invoke("report", str(copied))
    assert result.exit_code == 2 and "'../outside' is not unique letters" in result.output


# ---- damage ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("poses", "poses.parquet: was changed"),
        ("picture", "oblique_color.png: was changed"),
        ("gone", "scene.json: cannot be read"),
        ("verdict", "states PASS, but its checks give"),
        ("counts", "objects alone, but poses.parquet holds"),
        ("field", "KeyError: 'geoms'"),
    ],
)
def test_a_damaged_scene_is_told_and_fails_its_case(copied: Path, damage: str, words: str) -> None:
    folder = copied / "scenes" / LARGE
    if damage in ("poses", "picture"):
        path = folder / ("poses.parquet" if damage == "poses" else "oblique_color.png")
        path.write_bytes(path.read_bytes() + b"0")
    elif damage == "gone":
        (folder / "scene.json").unlink()
    else:
        changes = {
            "verdict": lambda content: content.update(checks=content["checks"][3:]),
            "counts": lambda content: content["counts"].update(alone=0),
            "field": lambda content: content.pop("geoms"),
        }
        rewrite(copied, LARGE, record=changes[damage])
    write_report(copied)
    row = rows_of(copied)[LARGE]
    assert row["status"] == "unreadable" and words in row["worst"] and str(copied) not in row["worst"]
    suite = ElementTree.parse(copied / "report" / "junit.xml").getroot()
    (case,) = [case for case in suite if case.get("name") == LARGE]
    assert case.find("failure") is not None
    assert page_of(copied, LARGE)["plan"] is None
    assert not (copied / "report" / "pictures" / "scenes" / f"{LARGE}.webp").exists()


# ---- the same again -------------------------------------------------------------------------------------------


def test_the_same_report_again_makes_only_what_changed(copied: Path) -> None:
    def stamps() -> dict[str, int]:
        folders = (copied / "report" / name / "scenes" for name in ("data", "pictures"))
        return {path.name: path.stat().st_mtime_ns for folder in folders for path in folder.iterdir()}

    write_report(copied)
    before = stamps()
    (copied / "report" / "data" / "scenes" / "gone.js").write_text("of a scene that is gone")
    write_report(copied)
    assert stamps() == before
    rewrite(copied, LARGE, record=lambda content: content["merged"].append("a: b and c"))
    write_report(copied)
    changed = {name for name, stamp in stamps().items() if stamp != before[name]}
    assert f"{LARGE}.js" in changed and all(name.startswith(LARGE) for name in changed)


def test_a_report_has_the_same_bytes_every_time(hall: Path, copied: Path) -> None:
    shutil.rmtree(copied / "report")
    write_report(copied)
    for path in sorted((hall / "report").rglob("*")):
        if path.is_file():
            again = copied / "report" / path.relative_to(hall / "report")
            assert again.read_bytes() == path.read_bytes(), path.name


# ---- shares of limits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "share"),
    [
        (Check("S2", "drift", 0.25, "m", 1.0), 0.25),
        (Check("S2", "drift", 3.0, "m", 1.0), 3.0),
        (Check("S5", "objects", 0.0, "1", 0.0), 0.0),
        (Check("S5", "objects", 1.0, "1", 0.0), np.inf),
        (Check("S3", "load", 2.0, "1", 1.0, sense=">="), 0.5),
        (Check("S3", "load", 0.0, "1", 1.0, sense=">="), np.inf),
        (Check("S2", "drift", 3.0, "m", 1.0, floor_value=0.1, floor_limit=0.2), 0.5),
        (Check("S2", "drift", np.nan, "m", 1.0), np.inf),
        (Check("S4", "push", 3.0, "m", None), None),
    ],
)
def test_share_of_a_limit(check: Check, share: float | None) -> None:
    assert share_of_limit(check) == share


def test_the_closest_check_is_the_worst_verdict_then_the_largest_share() -> None:
    near, warned = Check("S1", "a", 0.9, "m", 1.0), Check("S2", "b", 0.5, "m", 1.0, warn=0.4)
    told = Check("S4", "c", 9.0, "m", None)
    assert closest_check([Check("S3", "d", 0.1, "m", 1.0), near, told]) is near
    assert closest_check([near, warned, told]) is warned
    assert closest_check([told]) is None


def test_sizes_of_components_count_those_that_stand_alone() -> None:
    names = ("a", "", "b", "a", "", "b", "a", "c", "c")
    count = len(names)
    table = PoseTable(names, names, names, names, np.zeros((count, 3)), np.zeros((count, 4)))
    assert table.component_sizes == {1: 2, 2: 2, 3: 1}


def test_turned_furniture_is_drawn_where_it_stands(copied: Path) -> None:
    before = read_scene(copied, SMALL).furniture
    quarter = Pose.from_axis_angle(np.array([0.0, 0.0, 1.0]), np.pi / 2).quaternion.tolist()
    rewrite(copied, SMALL, record=lambda content: content["furniture"][0].update(quaternion=quarter))
    after = read_scene(copied, SMALL).furniture
    assert after[:, :, 2] == pytest.approx(before[:, :, 2])
    assert np.ptp(after, axis=1)[:, 0] == pytest.approx(np.ptp(before, axis=1)[:, 1])
