"""Crumbs and bubbles are taken off; what is part of the object stays."""

from __future__ import annotations

import manifold3d as m3
import numpy as np
import pytest

from physics.crumbs import drop_crumbs
from physics.hull_error import arrays
from physics.mesh import Mesh

SOLID = m3.Manifold


def mesh_of(solid: SOLID) -> Mesh:
    vertices, faces = arrays(solid)
    return Mesh(vertices, faces.astype(np.int32))


def test_crumbs_and_bubbles_go_and_larger_shells_stay():
    block = SOLID.cube((1, 1, 1)) - SOLID.cube((0.2, 0.2, 0.2)).translate((0.2, 0.2, 0.2))
    bubble = SOLID.cube((0.01, 0.01, 0.01)).translate((0.7, 0.7, 0.7))
    crumb = SOLID.cube((0.01, 0.01, 0.01)).translate((0.5, 0.5, -0.1))
    kept, dropped = drop_crumbs(mesh_of((block - bubble) + crumb), volume=1e-5)
    assert dropped == 2
    assert kept.volume == pytest.approx(block.volume(), rel=1e-12)
    np.testing.assert_array_equal(kept.bounds, [[0, 0, 0], [1, 1, 1]])
    assert len(kept.vertices) == block.num_vert()


def test_a_mesh_without_crumbs_is_returned_as_it_is():
    mesh = mesh_of(SOLID.cube((1, 1, 1)))
    assert drop_crumbs(mesh, volume=1e-6) == (mesh, 0)
    assert drop_crumbs(mesh, volume=5.0) == (mesh, 0)
