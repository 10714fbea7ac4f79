"""Rays through openings: the same ones on every run."""

from __future__ import annotations

import numpy as np

from physics import truth as solids
from physics.hull_openings import OpeningConfig, clear_share


def test_rays_of_a_fine_mesh_are_the_same_each_time():
    """The faces of manifold3d's hull of so many vertices come in an order that differs from call to call."""
    torus = solids.torus(segments=160).mesh
    vertices, faces = torus.vertices / np.ptp(torus.vertices), torus.faces.astype(np.int64)
    found = {clear_share(vertices, faces, [], config=OpeningConfig()) for _ in range(4)}
    assert len(found) == 1 and next(iter(found))[0] > 100
