"""SparseVolume: a narrow band of signed distance on a sparse lattice, with the sign known everywhere.

Three spaces: *voxel* space counts lattice nodes (ijk, integer); *world* space is the body frame B [m],
`p = origin + voxel_size * ijk`; *index* space is the row of a node in the arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32


@dataclass(frozen=True, eq=False)
class SparseVolume:
    """Signed distance near the surface of a solid, negative inside.

    Every lattice edge whose ends have different signs has both ends in the band, and so has every corner
    of a cell that the surface crosses. Hence the sign of a node outside the band is that of the nearest
    band node before it in its row, and positive where there is none.
    """

    coords: Int32[np.ndarray, "N 3"]
    """Lattice nodes ijk of the band, unique, in lexicographic order."""
    values: Float32[np.ndarray, "N"]
    """Signed distance at the nodes [m], never exactly 0."""
    voxel_size: float
    """Distance between neighbouring nodes [m]."""
    origin: tuple[float, float, float]
    """Position of node (0, 0, 0) in B [m]."""
