"""Bands of signed distance of simple solids, for the tests of the learned generator."""

from __future__ import annotations

import torch
from torch import Tensor

from generators.ssa.presets import BAND
from generators.ssa.sparse_tensor import SparseTensor


def lattice(side: int) -> Tensor:
    """All nodes of a cube of `side` nodes (side^3, 3), in lexicographic order."""
    return torch.cartesian_prod(*[torch.arange(side)] * 3)


def sphere(nodes: Tensor, centre: float, radius: float) -> Tensor:
    return (nodes - centre).norm(dim=1) - radius


def box(nodes: Tensor, centre: float, half: tuple[float, float, float]) -> Tensor:
    q = (nodes - centre).abs() - torch.tensor(half) - 0.23  # no face in a plane of nodes, where the sign is open
    return q.clamp(min=0).norm(dim=1) + q.max(dim=1).values.clamp(max=0)


def torus(nodes: Tensor, centre: float, ring: float, tube: float) -> Tensor:
    p = nodes - centre
    return torch.stack([p[:, :2].norm(dim=1) - ring, p[:, 2]], dim=1).norm(dim=1) - tube


def distances(side: int) -> list[Tensor]:
    """Signed distance [voxel] of eight solids at all nodes: two balls, four boxes, two tori."""
    nodes, middle, unit = lattice(side).float(), (side - 1) / 2, side / 64
    return [
        sphere(nodes, middle, 26 * unit),
        sphere(nodes, middle, 14 * unit),
        box(nodes, middle, (26 * unit, 18 * unit, 9 * unit)),
        box(nodes, middle, (12 * unit, 12 * unit, 26 * unit)),
        box(nodes, middle, (26 * unit, 26 * unit, 5 * unit)),
        box(nodes, middle, (7 * unit, 20 * unit, 13 * unit)),
        torus(nodes, middle, 19 * unit, 7 * unit),
        torus(nodes, middle, 14 * unit, 9 * unit),
    ]


def band_of(fields: list[Tensor], side: int) -> SparseTensor:
    """The nodes of each field with |s| < BAND as one batch, features s / BAND."""
    nodes = lattice(side)
    coords, features = [], []
    for sample, field in enumerate(fields):
        near = field.abs() < BAND
        coords.append(torch.cat([torch.full((int(near.sum()), 1), sample), nodes[near]], dim=1).int())
        features.append(field[near][:, None] / BAND)
    return SparseTensor(torch.cat(coords), torch.cat(features), len(fields)).check()


def sign_iou(decoded: SparseTensor, fields: list[Tensor], side: int) -> Tensor:
    """Intersection over union of the insides, per sample (B,); a node within one voxel that was pruned counts as wrong.

    Nodes farther off that were pruned take the true sign, as filling from the decoded nodes would give it.
    """
    distance = torch.stack(fields)
    true = distance < 0
    got = torch.where(distance.abs() < 1, ~true, true)
    s, i, j, k = decoded.coords.long().unbind(1)
    got[s, (i * side + j) * side + k] = decoded.features[:, 0] < 0
    return (got & true).sum(dim=1) / (got | true).sum(dim=1)
