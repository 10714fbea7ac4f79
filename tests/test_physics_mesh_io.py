"""Mesh files: round trips to the bit, equal bytes, refusals that name the file."""

import numpy as np
import pytest

from physics import truth as solids
from physics.errors import MeshError
from physics.mesh import Mesh
from physics.mesh_io import read_mesh, write_obj


def test_obj_round_trip_is_exact(tmp_path):
    mesh = solids.torus().mesh
    write_obj(mesh, tmp_path / "torus.obj")
    assert read_mesh(tmp_path / "torus.obj").digest == mesh.digest


def test_obj_with_normals_keeps_its_vertices(tmp_path):
    mesh = solids.sphere().mesh
    normals = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    write_obj(Mesh(mesh.vertices, mesh.faces, normals), tmp_path / "s.obj")
    back = read_mesh(tmp_path / "s.obj")
    np.testing.assert_array_equal(back.vertices, mesh.vertices)
    np.testing.assert_array_equal(back.faces, mesh.faces)


def test_equal_meshes_give_equal_bytes(tmp_path):
    for name in ("a.obj", "b.obj"):
        write_obj(solids.cone().mesh, tmp_path / name)
    assert (tmp_path / "a.obj").read_bytes() == (tmp_path / "b.obj").read_bytes()


@pytest.mark.parametrize("suffix", ["stl", "ply", "off", "glb"])
def test_other_formats_keep_the_volume(tmp_path, suffix):
    import trimesh

    mesh = solids.l_bar().mesh
    path = tmp_path / f"bar.{suffix}"
    trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(path)
    assert read_mesh(path).volume == pytest.approx(mesh.volume, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("none.obj", None, "no such file"),
        ("empty.obj", "", "none|no triangles|cannot read"),
        ("points.obj", "v 0 0 0\nv 1 0 0\n", "no triangles|cannot read"),
        ("what.xyzw", "hello", "cannot read"),
        ("nan.obj", "v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "not finite"),
    ],
)
def test_refusals_name_the_file(tmp_path, name, content, text):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(MeshError, match=text) as caught:
        read_mesh(path)
    assert name in str(caught.value)
