"""`scenegen verify`: foreign files get the verdict they deserve, bad ones a reason, and the batch goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import trimesh
from pyarrow import parquet
from typer.testing import CliRunner

from physics.check import Verdict
from physics.errors import MaterialError, MeshError
from physics.mesh import Mesh
from physics.mesh_io import read_objects
from physics.validity import count_self_intersections
from scenegen import cli
from scenegen.assets.build import SurfaceConfig
from scenegen.errors import ConfigError
from scenegen.pipeline.run_serial import run_serial
from scenegen.pipeline.stage import Rejection
from scenegen.reports.progress import RunProgress
from scenegen.reports.verification import commonest_defects, junit, markdown_summary, write_verification
from scenegen.run import STORE
from scenegen.verification import chain
from scenegen.verification.request import VerifyOptions, find_files, make_requests
from scenegen.verification.verified import VerifiedFile
from scenegen.verification.verify import verify_files

BOX = (0.06, 0.04, 0.1)
DENSITY = 720.0
MASS = DENSITY * float(np.prod(BOX))
TRUE = {"ixx": MASS * (BOX[1] ** 2 + BOX[2] ** 2) / 12, "iyy": MASS * (BOX[0] ** 2 + BOX[2] ** 2) / 12,
        "izz": MASS * (BOX[0] ** 2 + BOX[1] ** 2) / 12}  # fmt: skip


def urdf(
    *,
    visual: str = '<mesh filename="box.obj"/>',
    collision: str = '<mesh filename="box.obj"/>',
    mass: float | str = MASS,
    scale: float = 1.0,
    com: str = "0 0 0",
) -> str:
    entries = " ".join(f'{name}="{scale * value:.17g}"' for name, value in TRUE.items())
    return f"""<robot name="r"><link name="l"><inertial><origin xyz="{com}"/><mass value="{mass}"/>
    <inertia {entries} ixy="0" ixz="0" iyz="0"/></inertial>
    <visual><geometry>{visual}</geometry></visual>
    <collision><geometry>{collision}</geometry></collision></link></robot>"""


def box_file(folder: Path) -> None:
    trimesh.creation.box(BOX).export(folder / "box.obj")


FILES = {
    "true": urdf(),
    "primitive": urdf(collision='<box size="0.06 0.04 0.1"/>'),
    "heavy_inertia": urdf(scale=1.02),
    "shifted_com": urdf(com="0.01 0 0"),
    "light": urdf(mass=MASS / 1000),
    "small_hull": urdf(collision='<box size="0.05 0.03 0.09"/>'),
    "missing_mesh": urdf(visual='<mesh filename="gone.obj"/>'),
    "escape": urdf(visual='<mesh filename="../true/box.obj"/>'),
    "nan": urdf(mass="nan"),
    "entities": '<!DOCTYPE r [<!ENTITY a "b">]>' + urdf(),
    "truncated": urdf()[:200],
    "flat_hull": urdf(collision='<mesh filename="flat.obj"/>'),
    "negative": urdf(collision='<cylinder radius="-1" length="1"/>'),
    "far": urdf(com="1e200 0 0"),
    "two_links": urdf().replace("</robot>", '<link name="m"/></robot>'),
    "no_inertial": '<robot name="r"><link name="l"><visual><geometry><sphere radius="1"/></geometry></visual>'
    '<collision><geometry><sphere radius="1"/></geometry></collision></link></robot>',
}


def mjcf(*, inertia: float = 1.0, geom: str = 'type="mesh" mesh="box"', more: str = "") -> str:
    moments = " ".join(f"{inertia * value:.17g}" for value in TRUE.values())
    return f"""<mujoco>{more}<asset><mesh name="box" file="box.obj"/></asset><worldbody><body name="b"><freejoint/>
    <inertial pos="0 0 0" mass="{MASS}" diaginertia="{moments}"/><geom {geom}/></body></worldbody></mujoco>"""


MJCF = {
    "mjcf_true": mjcf(),
    "mjcf_box": mjcf(geom='type="box" size="0.03 0.02 0.05"'),
    "mjcf_heavy": mjcf(inertia=1.02),
    "mjcf_loop": mjcf(more='<include file="mjcf_loop.xml"/>'),
    "mjcf_escape": mjcf().replace("box.obj", "../true/box.obj"),
    "mjcf_second_compiler": mjcf(more='<compiler/><compiler meshdir=".."/>'),
    "mjcf_texture": mjcf(more='<asset><texture name="t" type="cube" fileright="/etc/hostname"/></asset>'),
    "mjcf_replicate": mjcf().replace("</body>", '<replicate count="2000000000"><site/></replicate></body>'),
    "mjcf_hfield": mjcf(more='<asset><hfield name="h" nrow="99999" ncol="99999" size="1 1 1 1"/></asset>'),
    "mjcf_missing": mjcf().replace("box.obj", "gone.obj"),
    "mjcf_plane": mjcf(geom='type="ellipsoid" size="0.03 0.02 0.05"'),
    "mjcf_two": mjcf().replace("</worldbody>", '<body><geom size="1"/></body></worldbody>'),
    "mjcf_other": "<html/>",
}


LIAR = b"""ply
format binary_little_endian 1.0
element vertex 1000000000000
property float x
property float y
property float z
element face 12
property list uchar int vertex_indices
end_header
"""


@pytest.fixture(scope="module")
def out(floors_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all tests."""
    folder = tmp_path_factory.mktemp("out")
    shutil.copytree(floors_store, folder / STORE)
    return folder


@pytest.fixture(scope="module")
def found(out: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, VerifiedFile]:
    """All files judged in one run, by name."""
    folder = tmp_path_factory.mktemp("files")
    for name, text in FILES.items():
        (folder / name).mkdir()
        box_file(folder / name)
        (folder / name / f"{name}.urdf").write_text(text)
        (folder / name / "flat.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    for name, text in MJCF.items():
        (folder / name).mkdir()
        box_file(folder / name)
        (folder / name / f"{name}.xml").write_text(text)
    meshes = folder / "meshes"
    meshes.mkdir()
    trimesh.creation.box(BOX).export(meshes / "solid.stl")
    trimesh.creation.box(np.array(BOX) * 1000).export(meshes / "millimetres.ply")
    trimesh.creation.box(BOX).export(meshes / "good.glb")
    opened = trimesh.creation.box(BOX)
    opened.faces = opened.faces[1:]
    opened.export(meshes / "open.obj")
    inverted = trimesh.creation.box(BOX)
    inverted.invert()
    inverted.export(meshes / "inverted.off")
    (meshes / "empty.stl").write_bytes(b"")
    (meshes / "garbage.glb").write_bytes(bytes(range(256)) * 4)
    (meshes / "liar.ply").write_bytes(LIAR)
    (meshes / "cut.stl").write_bytes((meshes / "solid.stl").read_bytes()[:200])
    (meshes / "vanished.obj").symlink_to(meshes / "nowhere.obj")
    (meshes / "<b>markup|x.obj").write_text("v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    judged = judge([folder], out, units="m")
    return {file.path.stem: file for file in judged}


def judge(paths: list[Path], out: Path, *, library: Path | None = None, **options) -> list[VerifiedFile]:
    from rich.console import Console

    with RunProgress(Console(quiet=True)) as progress:
        return verify_files(paths, out, VerifyOptions(**options), run_serial, progress, library=library)


def failed(file: VerifiedFile) -> set[str]:
    return {check.id for check in file.findings if check.verdict is Verdict.FAIL}


@pytest.mark.parametrize("name", ["true", "primitive", "solid", "good", "mjcf_true", "mjcf_box"])
def test_what_is_right_passes_every_check_in_both_engines(found, name: str) -> None:
    file = found[name]
    assert file.verdict == "PASS", file.findings
    assert file.certificate is not None and not file.certificate.missing and not file.certificate.fallbacks
    assert dict(file.certificate.engines).keys() == {"mujoco", "pybullet"}


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("heavy_inertia", "I4"),
        ("shifted_com", "I4"),
        ("light", "I1"),
        ("small_hull", "H3"),
        ("millimetres", "G1"),
        ("open", "G2"),
        ("inverted", "G3"),
        ("mjcf_heavy", "I4"),
    ],
)
def test_a_defect_is_named_by_its_check(found, name: str, identifier: str) -> None:
    assert found[name].verdict == "FAIL"
    assert identifier in failed(found[name])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing_mesh", "names 'gone.obj', and there is no such file"),
        ("escape", "outside its folder"),
        ("nan", "needs value with 1 finite numbers, got 'nan'"),
        ("entities", "declares entities"),
        ("truncated", "is no XML"),
        ("two_links", "2 links"),
        ("no_inertial", "has no <inertial>"),
        ("mjcf_loop", "includes itself"),
        ("mjcf_escape", "outside its folder"),
        ("mjcf_missing", "MuJoCo refuses it"),
        ("mjcf_plane", "is not one of"),
        ("mjcf_two", "2 bodies"),
        ("mjcf_other", "its root is <html>"),
        ("empty", "empty.stl"),
        ("garbage", "garbage.glb"),
        ("liar", "PLY is unexpected length"),
        ("cut", "cut.stl"),
        ("flat_hull", "has no convex hull: it encloses nothing"),
        ("negative", "expected positive numbers"),
        ("far", "is no quantity of an object"),
        ("mjcf_second_compiler", "outside its folder"),
        ("mjcf_texture", "outside its folder"),
        ("mjcf_replicate", "too many for one rigid body"),
        ("mjcf_hfield", "has a <hfield>"),
        ("<b>markup|x", "not finite"),
    ],
)
def test_what_cannot_be_judged_gets_a_row_with_the_reason(found, name: str, reason: str) -> None:
    assert found[name].verdict == "unreadable" and not found[name].accepted
    assert reason in found[name].reason


def test_alterations_are_marked_and_never_a_pass(out: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    box_file(tmp_path / "in")
    (tmp_path / "in" / "false.urdf").write_text(urdf(scale=1000.0))
    opened = trimesh.creation.box(BOX)
    opened.faces = opened.faces[2:]
    (tmp_path / "scan").mkdir()
    opened.export(tmp_path / "scan" / "open.obj")
    options = {"units": "m", "derive_inertia": True, "solidify": True, "resolution": 48}
    false, scan = judge([tmp_path / "in", tmp_path / "scan"], out, **options)
    assert false.verdict == scan.verdict == "WARN", [file.findings for file in (false, scan)]
    assert false.certificate is not None and scan.certificate is not None
    assert "1e+03 times as large" in " ".join(false.certificate.fallbacks)
    assert "made solid at 48 voxels" in " ".join(scan.certificate.fallbacks)


def test_solidify_takes_slivers_off() -> None:
    """A closed box with a corner of a face moved onto its neighbour: two needles, which G6 refuses."""
    box = trimesh.creation.box(BOX).subdivide()
    a, b = box.faces[0][:2]
    vertices = np.array(box.vertices)
    split = len(vertices)
    vertices = np.vstack([vertices, vertices[a] + 1e-6 * (vertices[b] - vertices[a])])
    faces = []
    for face in box.faces:  # both faces at the edge (a, b) get the new vertex, a hair from its end
        at = next((k for k in range(3) if {face[k], face[(k + 1) % 3]} == {a, b}), None)
        if at is None:
            faces.append(tuple(face))
            continue
        i, j, k = face[at], face[(at + 1) % 3], face[(at + 2) % 3]
        faces += [(i, split, k), (split, j, k)]
    needled, altered = Mesh(vertices, np.array(faces, dtype=np.int32)), []
    config, options = SurfaceConfig(), VerifyOptions(units="m", material="beech", solidify=True)
    assert chain._no_solid(needled, config) == {"G6"}
    solid = chain._made_solid(needled, options, config, altered)
    assert chain._no_solid(solid, config) == set()
    assert solid.volume == pytest.approx(float(np.prod(BOX)), rel=1e-6)
    assert "slivers taken off" in altered[0]


def test_solidify_leaves_closed_meshes_and_refuses_what_is_too_thin_for_its_voxels(out: Path, tmp_path: Path) -> None:
    trimesh.creation.box(BOX).export(tmp_path / "closed.stl")
    sheets = [trimesh.creation.box((0.1, 0.1, 1e-4)) for _ in range(2)]
    sheets[1].apply_transform(trimesh.transformations.rotation_matrix(1.0, (1, 0.3, 0.2), (0.01, 0.02, 0)))
    trimesh.util.concatenate(sheets).export(tmp_path / "thin.stl")
    closed, thin = judge([tmp_path], out, units="m", solidify=True, resolution=32)
    assert closed.verdict == "PASS" and closed.certificate is not None and not closed.certificate.fallbacks
    assert thin.verdict == "unreadable" and "raise --resolution" in thin.reason


def test_reports_hold_every_file_and_no_markup(found, tmp_path: Path) -> None:
    files = list(found.values())
    written = write_verification(files, tmp_path)
    rows = json.loads(written[0].read_text())
    assert len(rows) == len(files) == parquet.read_table(written[1]).num_rows
    assert {row["verdict"] for row in rows} == {"PASS", "FAIL", "unreadable"}
    assert "\\<b\\>markup\\|x.obj" in markdown_summary(files) and "<b>" not in markdown_summary(files)
    suite = ElementTree.fromstring(junit(files))
    assert suite.get("failures") == str(sum(not file.accepted for file in files))
    assert len(suite.findall("testcase/failure")) == int(suite.get("failures") or 0)
    assert dict(commonest_defects(files))["I4 inertia, error against the integral over the parts"] >= 1


def test_the_same_command_again_takes_everything_from_the_store(out: Path, tmp_path: Path) -> None:
    trimesh.creation.box(BOX).export(tmp_path / "box.stl")
    first = judge([tmp_path / "box.stl"], out, units="m")
    stored = {path: path.stat().st_mtime_ns for path in (out / ".store").rglob("*") if path.is_file()}
    second = judge([tmp_path / "box.stl"], out, units="m")
    assert first[0].certificate == second[0].certificate
    assert stored == {path: path.stat().st_mtime_ns for path in stored}


def test_units_and_up_axis_are_taken_as_given(out: Path, tmp_path: Path) -> None:
    trimesh.creation.box((60, 100, 40)).export(tmp_path / "box.stl")
    (file,) = judge([tmp_path / "box.stl"], out, units="mm", up="y")
    assert file.verdict == "PASS"


def test_files_that_cannot_be_opened_or_are_too_large_are_rows(tmp_path: Path, monkeypatch) -> None:
    trimesh.creation.box(BOX).export(tmp_path / "box.stl")
    request = make_requests([tmp_path / "box.stl"], VerifyOptions(units="m"))[0]
    with pytest.raises(MeshError, match="has more than 11 faces"):
        read_objects(tmp_path / "box.stl", most_faces=11)
    monkeypatch.setattr(chain, "MOST_FACES", 11)
    found = chain.read_file(request, SurfaceConfig())
    assert isinstance(found, Rejection) and "has more than 11 faces" in found.message

    def refuse(*_) -> None:
        raise PermissionError(13, "Permission denied", request.path)

    monkeypatch.setattr(chain, "read_objects", lambda *_, **__: refuse())
    found = chain.read_file(request, SurfaceConfig())
    assert isinstance(found, Rejection) and "Permission denied" in found.message


def test_copies_of_a_face_take_no_time_and_count_as_before() -> None:
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0.2, 0.2, -1], [0.2, 0.2, 1], [0.3, 0.2, 1]])
    crossing = np.array([[0, 1, 2], [3, 4, 5]])
    copies = np.concatenate([np.tile(crossing[:1], (100_000, 1)), crossing[1:]])
    assert count_self_intersections(corners, copies) == count_self_intersections(corners, crossing) == (1, 0)


def test_a_file_keeps_its_results_when_others_join_it(tmp_path: Path) -> None:
    trimesh.creation.box(BOX).export(tmp_path / "b.stl")
    (alone,) = make_requests([tmp_path], VerifyOptions(units="m"))
    trimesh.creation.box(BOX).export(tmp_path / "a.stl")
    assert make_requests([tmp_path], VerifyOptions(units="m"))[1] == alone


def test_objects_of_a_file_are_welded_each_for_itself(tmp_path: Path) -> None:
    square = "o a\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\nf 1 2 3\nf 4 6 5\n"
    text = square + "o b\nv 5 0 0\nv 6 0 0\nv 5 1 0\nf 7 8 9\n"
    (tmp_path / "two.obj").write_text(text)
    first, second = read_objects(tmp_path / "two.obj")
    assert len(first.vertices) == 4 and len(first.faces) == 2 and len(second.faces) == 1


def bad_calls(folder: Path) -> Iterator[tuple[list[Path], dict, str]]:
    (folder / "hollow").mkdir()
    (folder / "x.step").write_text("")
    box_file(folder)
    yield [folder / "gone.obj"], {}, "no such file or folder"
    yield [folder / "hollow"], {}, "holds no file that can be judged"
    yield [folder / "x.step"], {}, "format .step is not one of"
    yield [folder / "box.obj"], {}, "does not say in which unit"


def test_bad_calls_are_refused(tmp_path: Path) -> None:
    for paths, options, message in bad_calls(tmp_path):
        with pytest.raises(ConfigError, match=message):
            make_requests(paths, VerifyOptions(**options))
    with pytest.raises(MaterialError, match="Did you mean 'beech'"):
        VerifyOptions(material="beach")
    with pytest.raises(ConfigError, match="density is -1"):
        VerifyOptions(density=-1.0)
    result = CliRunner().invoke(
        cli.app, ["verify", str(tmp_path / "box.obj"), "--units", "km", "--material", "beech", "--out", str(tmp_path)]
    )
    assert result.exit_code == 2 and "units" in result.output


def test_meshes_that_a_model_names_are_pieces_of_it(tmp_path: Path) -> None:
    (tmp_path / "a.urdf").write_text(urdf())
    for place in (tmp_path, tmp_path / "below"):
        place.mkdir(exist_ok=True)
        box_file(place)
    trimesh.creation.box(BOX).export(tmp_path / "below" / "other.obj")
    assert [file.name for file in find_files([tmp_path])] == ["a.urdf", "other.obj"]
