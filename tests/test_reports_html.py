"""The report: its records, its pages in a real browser, and names that must stay text."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pyarrow.parquet
import pytest
from report_folder import HOSTILE, make_folder

from physics import truth
from physics.drop_record import DropConfig
from physics.floors import REFERENCE_MATERIAL, convex_body
from physics.model import Model
from physics.subject import Subject
from scenegen.assets.certificate import REQUIRED_CHECKS
from scenegen.errors import ConfigError
from scenegen.reports.html import _packed, write_report
from scenegen.reports.meanings import MEANINGS
from scenegen.reports.replay import replay_drop

MANY = 1000


def silent(_: str) -> None:
    pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("verified")
    make_folder(out)
    write_report(out, silent)
    return out


def test_records_follow_the_published_schema(folder: Path) -> None:
    report = folder / "report"
    content = json.loads((report / "report.json").read_text())
    jsonschema.validate(content, json.loads((report / "report_schema.json").read_text()))
    # Evidence is missing, so nothing is a PASS; what could not be measured fails.
    assert content["verdicts"] == {"UNDECIDED": 2, "FAIL": 1, "unreadable": 1}
    assert [row["count"] for row in content["funnel"]] == [4, 3, 3, 3, 3, 2, 2, 0]
    table = pyarrow.parquet.read_table(report / "report.parquet")
    assert table.num_rows == 4 and json.loads(table["checks"][0].as_py())[0]["id"] == "G2"
    suite = ElementTree.fromstring((report / "junit.xml").read_bytes())
    assert suite.get("tests") == suite.get("failures") == "4"
    assert "the file is empty" in (report / "report.md").read_text()


def test_names_from_files_end_no_script(folder: Path) -> None:
    for script in (folder / "report" / "data").glob("*.js"):
        text = script.read_text()
        assert "<" not in text and "\u2028" not in text
    content = json.loads((folder / "report" / "report.json").read_text())
    assert content["objects"][0]["name"] == HOSTILE


def test_a_second_report_replaces_the_first(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in (folder / "report" / "data").iterdir()}
    write_report(folder, silent)
    assert {path.name: path.read_bytes() for path in (folder / "report" / "data").iterdir()} == before


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds neither assets of a run nor"):
        write_report(tmp_path, silent)


def test_every_check_has_a_meaning() -> None:
    assert set(REQUIRED_CHECKS) <= set(MEANINGS)


def test_packed_coordinates_are_those_of_the_mesh() -> None:
    import base64

    mesh = truth.torus().mesh
    packed = _packed(mesh)
    places = np.frombuffer(base64.b64decode(packed["places"]), "<u2").reshape(-1, 3)
    back = np.array(packed["low"]) + np.array(packed["step"]) * places
    assert np.abs(back - mesh.vertices).max() <= 0.51 * max(packed["step"])
    assert np.array_equal(np.frombuffer(base64.b64decode(packed["faces"]), "<u4").reshape(-1, 3), mesh.faces)


def test_a_replayed_drop_ends_on_the_ground() -> None:
    body = convex_body("box", truth.box((0.1, 0.06, 0.03)).mesh, REFERENCE_MATERIAL)
    model = Model("box", (body,))
    found = replay_drop(model)
    assert found is not None
    poses, seconds = found
    heights = poses[:, 2]
    assert heights[0] > Subject(model, DropConfig()).size / 2 and heights[-1] == pytest.approx(0.015, abs=1e-3)
    assert 0 < seconds < 0.1


# ---- in a browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    sync_api = pytest.importorskip("playwright.sync_api")
    found = os.environ.get("SCENEGEN_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium: install one, or name it in SCENEGEN_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader"]
        )
        yield running
        running.close()


@pytest.fixture
def page(browser) -> Iterator[object]:
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    opened.on("dialog", lambda dialog: errors.append(f"dialog {dialog.message}"))
    yield opened
    opened.close()
    assert not errors


def names(page) -> list[str]:
    return page.locator("#table .tabulator-row [tabulator-field=name]").all_inner_texts()


def test_sort_filter_open_and_rotate(page, folder: Path, tmp_path: Path) -> None:
    page.goto(f"file://{folder}/report/index.html")
    page.wait_for_selector("#table .tabulator-row")
    assert page.locator("#shown").inner_text() == "4 of 4"
    assert any("onerror" in name for name in names(page))
    page.locator(".tabulator-col[tabulator-field=name]").click()
    first = names(page)
    page.locator(".tabulator-col[tabulator-field=name]").click()
    assert names(page) == first[::-1]
    page.fill("#search", "part_0001")
    page.wait_for_function("document.getElementById('shown').textContent === '1 of 4'")
    page.screenshot(path=tmp_path / "index.png")
    page.locator("#table a").first.click()
    page.wait_for_function("window.viewer !== undefined")
    assert page.locator("h1").inner_text() == "part_0001.stl"
    before = page.evaluate("viewer.camera.position.toArray()")
    page.locator("#view").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("viewer.camera.position.toArray()") != before
    box = page.locator("#view").bounding_box()
    before = page.evaluate("viewer.camera.position.toArray()")
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 80, box["y"] + box["height"] / 2)
    page.mouse.up()
    assert page.evaluate("viewer.camera.position.toArray()") != before
    page.locator("#play").click()
    page.wait_for_function("viewer.body.position.z > 0.01")
    page.locator("#show-hulls").check()
    page.screenshot(path=tmp_path / "asset.png")
    assert page.locator("#checks tbody tr").count() == 4


def test_a_phone_scrolls_one_way_only(browser, folder: Path) -> None:
    phone = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
    for place in ("index.html", "asset.html?id=00001"):
        phone.goto(f"file://{folder}/report/{place}")
        phone.wait_for_timeout(300)
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    assert phone.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 28)"
    phone.close()


def test_a_thousand_objects_paint_in_two_seconds_and_filter_in_a_tenth(page, tmp_path: Path) -> None:
    make_folder(tmp_path, count=MANY, with_shape=3)
    begun = time.monotonic()
    write_report(tmp_path, silent)
    assert time.monotonic() - begun < 60
    page.goto(f"file://{tmp_path}/report/index.html")
    page.wait_for_selector("#table .tabulator-row")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    page.wait_for_timeout(500)  # the charts and thumbnails of the first view are drawn
    taken = [
        page.evaluate(
            """(wanted) => new Promise((done) => {
                const begun = performance.now();
                const search = document.getElementById("search");
                search.value = wanted;
                search.dispatchEvent(new Event("input"));
                requestAnimationFrame(() => setTimeout(() => done(performance.now() - begun), 0));
            })""",
            wanted,
        )
        for wanted in ("part_05", "", "part_09")
    ]
    assert page.locator("#shown").inner_text() == "100 of 1000"
    print(f"first paint {paint:.0f} ms, filters {', '.join(f'{one:.0f}' for one in taken)} ms")
    assert paint < 2000 and sorted(taken)[1] < 100
