"""Pictures: geometry of the camera against closed forms, the same bytes every time, refusals, files."""

from __future__ import annotations

import io
import json
import time

import numpy as np
import pytest
import trimesh
from PIL import Image

from physics.engine import Placement, World
from physics.mass import integrate_mesh
from physics.materials import find_material
from physics.mesh import Mesh
from physics.model import Body, Model, Part
from physics.pose import Pose
from scenegen.assets.corner_normals import corner_normals, split_vertices
from scenegen.errors import ReportError
from scenegen.reports.camera import Camera, frame_camera
from scenegen.reports.figures import (
    _best_directions,
    _stage_bounds,
    depth_image,
    write_asset_sheet,
    write_scene_pictures,
)
from scenegen.reports.light import tone_map
from scenegen.reports.picture import contact_sheet, png_bytes
from scenegen.reports.render import RenderConfig, RenderObject, render, render_model, render_world, world_bounds


def ball(subdivisions: int = 3, radius: float = 1.0) -> Mesh:
    made = trimesh.creation.icosphere(subdivisions, radius)
    return Mesh(np.asarray(made.vertices), np.asarray(made.faces), np.asarray(made.vertices) / radius)


def cube(side: float = 1.0) -> Mesh:
    made = trimesh.creation.box((side, side, side))
    return Mesh(np.asarray(made.vertices), np.asarray(made.faces))


def model(mesh: Mesh, name: str = "thing") -> Model:
    part = Part("solid", mesh, find_material("steel"))
    return Model(name, (Body(name, (part,), (), integrate_mesh(mesh, density=1000.0)),))


def red(mesh: Mesh, pose: Pose | None = None, name: str = "object") -> RenderObject:
    return RenderObject(mesh, pose or Pose.identity(), (0.8, 0.05, 0.05), 0.0, 0.5, name)


NO_GROUND = RenderConfig(ground=False)


# ---- camera ----------------------------------------------------------------------------------------------------


def test_pixels_project_back_to_the_points_they_show():
    camera = Camera(np.array([3.0, -2.0, 1.5]), np.array([0.1, 0.0, 0.2]), 96, 64)
    picture = render([red(ball(4))], camera, config=NO_GROUND)
    rows, columns = np.nonzero(np.isfinite(picture.depth))
    z = picture.depth[rows, columns].astype(np.float64)
    k = camera.intrinsics
    local = np.stack([(columns + 0.5 - k[0, 2]) * z / k[0, 0], (rows + 0.5 - k[1, 2]) * z / k[1, 1], z], axis=1)
    radius = np.linalg.norm(camera.X_WC.apply(local), axis=1)
    # An icosphere of 4 subdivisions lies up to 0.2 % inside its sphere.
    assert len(rows) > 500 and np.abs(radius - 0.999).max() < 2e-3


def test_camera_frame_looks_at_its_target_with_y_down():
    camera = Camera(np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.0, 1.0]), 10, 10)
    assert np.allclose(camera.X_WC.inverse().apply(camera.target)[:2], 0)
    assert camera.X_WC.rotation[2, 1] < 0 and np.isclose(np.linalg.det(camera.X_WC.rotation), 1)


@pytest.mark.parametrize("shape", [(1.0, 1.0, 1.0), (0.1, 0.1, 3.0), (5.0, 0.2, 0.1)])
def test_framed_box_fills_the_picture_and_stays_inside(shape):
    made = trimesh.creation.box(shape)
    thing = red(Mesh(np.asarray(made.vertices), np.asarray(made.faces)), Pose.translation(3.0, 4.0, 5.0))
    camera = frame_camera(world_bounds([thing]), width=120, height=80)
    seen = np.isfinite(render([thing], camera, config=NO_GROUND).depth)
    rows, columns = np.nonzero(seen)
    assert not (seen[0].any() or seen[-1].any() or seen[:, 0].any() or seen[:, -1].any())
    assert max(np.ptp(rows) / 80, np.ptp(columns) / 120) > 0.8


def test_bad_cameras_and_empty_scenes_are_refused():
    with pytest.raises(ReportError, match="sees nothing"):
        Camera(np.zeros(3), np.ones(3), 0, 10)
    with pytest.raises(ReportError, match="along its up direction"):
        Camera(np.zeros(3), np.array([0.0, 0.0, 1.0]), 10, 10)
    with pytest.raises(ReportError, match="nothing to draw"):
        render([], Camera(np.zeros(3), np.ones(3), 4, 4))


# ---- picture ---------------------------------------------------------------------------------------------------


def test_segmentation_names_what_hides_what():
    near = red(cube(0.4), Pose.translation(0.0, -1.0, 0.5), "near")
    far = red(cube(1.0), Pose.translation(0.0, 1.0, 0.5), "far")
    camera = Camera(np.array([0.0, -6.0, 0.5]), np.array([0.0, 0.0, 0.5]), 61, 61)
    picture = render([far, near], camera)
    assert picture.names == ("background", "ground", "far", "near")
    assert picture.names[picture.segmentation[30, 30]] == "near"
    assert picture.depth[30, 30] == pytest.approx(4.8, rel=1e-5)
    assert {picture.names[i] for i in np.unique(picture.segmentation)} == set(picture.names)
    assert np.array_equal(np.isinf(picture.depth), picture.segmentation == 0)


def test_same_scene_gives_the_same_bytes_whatever_the_chunk():
    bounds = np.array([[-1.0] * 3, [1.0] * 3])
    camera = frame_camera(bounds, width=64, height=48)
    pictures = [
        render([red(ball())], camera, config=RenderConfig(ground_height=-1.0, chunk=chunk)) for chunk in (2**17,) * 2
    ]
    assert png_bytes(pictures[0].color) == png_bytes(pictures[1].color)
    other = render([red(ball())], camera, config=RenderConfig(ground_height=-1.0, chunk=1000))
    assert np.array_equal(other.color, pictures[0].color) and np.array_equal(other.depth, pictures[0].depth)


def test_picture_does_not_depend_on_scale_or_place():
    def at(scale: float, offset: np.ndarray):
        thing = red(cube(scale), Pose(offset, np.array([1.0, 0.0, 0.0, 0.0])))
        camera = frame_camera(world_bounds([thing]), width=48, height=48)
        return render([thing], camera, config=RenderConfig(ground_height=float(offset[2] - scale / 2)))

    first, second = at(1.0, np.zeros(3)), at(0.01, np.array([4.0, -3.0, 2.0]))
    # Rays that graze an edge may fall to either side: single precision in the ray caster.
    assert (np.abs(first.color.astype(int) - second.color).max(axis=2) > 8).mean() < 0.01
    inside = (first.segmentation == 2) & (second.segmentation == 2)
    assert np.allclose(first.depth[inside] * 0.01, second.depth[inside], rtol=1e-4)


def test_light_falls_from_above_and_casts_a_shadow():
    camera = Camera(np.array([0.0, -8.0, 5.0]), np.array([0.0, 0.0, 0.5]), 80, 60)
    config = RenderConfig(supersampling=1)
    thing = red(ball(), Pose.translation(0.0, 0.0, 1.0))
    picture = render([thing], camera, config=config)
    shiny = picture.color.astype(int).sum(axis=2)
    rows = np.nonzero((picture.segmentation == 2).any(axis=1))[0]
    top, bottom = rows[3], rows[-3]
    assert (
        shiny[top][picture.segmentation[top] == 2].mean()
        > 1.3 * shiny[bottom][picture.segmentation[bottom] == 2].mean()
    )
    ground = shiny[picture.segmentation == 1]
    assert ground.min() < 0.75 * np.median(ground)


def test_tone_map_is_monotonic_and_keeps_grey_grey():
    ramp = np.linspace(0, 20, 400, dtype=np.float32)
    out = tone_map(np.repeat(ramp[:, None], 3, axis=1)).astype(int)
    assert (np.diff(out[:, 0]) >= 0).all() and (out == out[:, :1]).all() and out[0, 0] == 0 and out[-1, 0] > 250


# ---- normals ---------------------------------------------------------------------------------------------------


def test_corners_of_a_cube_stay_sharp_even_with_smeared_normals():
    mesh = cube()
    faces = mesh.face_cross / np.linalg.norm(mesh.face_cross, axis=1, keepdims=True)
    smeared = Mesh(mesh.vertices, mesh.faces, mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True))
    for one in (mesh, smeared):
        assert np.abs(corner_normals(one) - faces[:, None]).max() < 1e-12
        assert len(split_vertices(one).vertices) == 24


def test_corners_of_a_ball_are_smooth_with_and_without_given_normals():
    given = ball()
    bare = Mesh(given.vertices, given.faces)
    assert len(split_vertices(given).vertices) == len(given.vertices)
    assert np.einsum("fci,fci->fc", corner_normals(bare), given.vertices[given.faces]).min() > 0.999


# ---- files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "kind"), [((5, 7, 3), np.uint8), ((5, 7), np.uint8), ((5, 7), np.uint16)])
def test_png_reads_back_to_the_same_numbers(shape, kind):
    image = np.random.default_rng(0).integers(0, np.iinfo(kind).max, shape, dtype=kind, endpoint=True)
    assert np.array_equal(np.array(Image.open(io.BytesIO(png_bytes(image)))), image)
    with pytest.raises(ReportError, match="is no picture"):
        png_bytes(image.astype(np.float32))


def test_contact_sheet_of_other_shapes_is_refused():
    small, large = np.zeros((8, 8, 3), np.uint8), np.zeros((9, 8, 3), np.uint8)
    with pytest.raises(ReportError, match="one shape"):
        contact_sheet([small, large], ["a", "b"])
    sheet = contact_sheet([small] * 5, ["label"] * 5, columns=2)
    assert sheet.dtype == np.uint8 and sheet.shape[0] > sheet.shape[1]


def test_scene_pictures_and_asset_sheet_are_written(tmp_path):
    world = World(
        (
            Placement("first", model(cube(0.1)), Pose.translation(0.0, 0.0, 0.05)),
            Placement("second", model(ball(2, 0.05)), Pose.translation(0.3, 0.0, 0.05)),
        ),
        find_material("oak"),
    )
    files = write_scene_pictures(world, tmp_path / "scene", width=48, height=32)
    assert all(path.is_file() for path in files) and len(files) == 7
    cameras = json.loads((tmp_path / "scene" / "camera.json").read_text())
    assert cameras["first"]["names"] == ["background", "ground", "first", "second"]
    labels = np.array(Image.open(tmp_path / "scene" / "first_segmentation.png"))
    depth = np.array(Image.open(tmp_path / "scene" / "first_depth.png"))
    assert set(np.unique(labels)) <= {0, 1, 2, 3} and {2, 3} <= set(np.unique(labels))
    bounds = _stage_bounds(world, None)
    first, _ = _best_directions(world, None, bounds)
    picture = render_world(world, camera=frame_camera(bounds, direction=first, width=48, height=32))
    assert np.array_equal(depth_image(picture), depth) and depth[labels == 0].max(initial=0) == 0
    assert write_asset_sheet([model(cube())] * 2, ["a", "b"], tmp_path / "sheet.png", size=32).is_file()
    with pytest.raises(ReportError, match="no assets"):
        write_asset_sheet([], [], tmp_path / "none.png")


def test_thumbnail_takes_little_time():
    start = time.process_time()
    picture = render_model(model(ball(5)))  # 20,480 triangles
    assert picture.color.shape == (256, 256, 3)
    assert time.process_time() - start < 3.0  # half a second alone on a core; shared machines count differently
