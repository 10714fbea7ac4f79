"""Losses of the autoencoder: distance in and beyond the band, sharp edges, sign, pruning, and the prior."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from generators.errors import VolumeError
from generators.ssa.presets import BAND
from generators.ssa.scales import Halving, cells_of_keys, children_mask, find_cells
from generators.ssa.sparse_conv import Rulebook
from generators.ssa.sparse_tensor import SparseTensor, cell_keys
from generators.ssa.vae import Decoded, Posterior


@dataclass(frozen=True)
class VaeLossConfig:
    """Weights of the terms."""

    band: float = 1.0
    """|e| + e^2 of the distance over BAND, mean over the nodes of the band."""
    extra: float = 0.1
    """The same on nodes beyond the band, where the target is the sign."""
    sharp: float = 1.0
    """The same on nodes at sharp edges."""
    sign: float = 0.1
    """Cross entropy of the sign, mean over nodes next to the surface."""
    prune: float = 0.1
    """Cross entropy of the children that are kept, mean over scales."""
    kl: float = 3e-4
    """Divergence from the unit normal, mean over latent numbers [nat]."""
    sharp_angle: float = 30.0
    """Normals of neighbours that differ by more make an edge sharp [degree]."""
    sign_reach: float = 1.0
    """Distance up to which the sign is trained [voxel]."""
    sign_width: float = 0.25
    """Distance at which the sign counts as 73 % certain, in target and prediction alike [voxel]."""


def vae_loss(
    decoded: Decoded,
    target: SparseTensor,
    posterior: Posterior,
    config: VaeLossConfig | None = None,
    *,
    rulebook: Rulebook | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """Return the weighted sum as `total`, and the terms without weights.

    Args:
        decoded: What the decoder gave; nodes that the target lacks are left out.
        target: Signed distance over BAND (N, 1); nodes at +-1 lie beyond the band (see `with_margin`).
        posterior: What the encoder gave.
        config: Weights.
        rulebook: Rulebook of the target's cells, if it is at hand.

    Raises:
        VolumeError: no decoded node is a node of the target.
    """
    config = config or VaeLossConfig()
    row, found = find_cells(target.coords, decoded.band.coords)
    if not bool(found.any()):
        raise VolumeError(f"none of {len(row)} decoded nodes is among the {len(target.coords)} of the target")
    wanted, got = target.features[row[found], 0], decoded.band.features[found, 0].float()
    inside = target.features[:, 0].abs() < 1
    band = inside[row[found]]
    error = (got - wanted).abs()
    error = error + error.square()
    sharp = sharp_nodes(target, angle=config.sharp_angle, rulebook=rulebook)[row[found]]
    terms = {
        "band": _mean_over(error, band),
        "extra": _mean_over(error, ~band),
        "sharp": _mean_over(error, sharp & band),
        "sign": _sign_loss(got, wanted, config),
        "prune": _prune_loss(decoded, target, inside),
        "kl": _divergence(posterior),
    }
    terms["total"] = torch.stack([getattr(config, name) * value for name, value in terms.items()]).sum()
    return terms


def _mean_over(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the masked values (N,); 0 where the mask is empty."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def _sign_loss(got: Tensor, wanted: Tensor, config: VaeLossConfig) -> Tensor:
    """Cross entropy between soft signs; least exactly where the distances are equal."""
    steep = BAND / config.sign_width
    near = wanted.abs() * BAND < config.sign_reach
    entropy = F.binary_cross_entropy_with_logits(steep * got, torch.sigmoid(steep * wanted), reduction="none")
    return _mean_over(entropy, near)


def _prune_loss(decoded: Decoded, target: SparseTensor, inside: Tensor) -> Tensor:
    """Cross entropy of the 8 bits of every parent that holds a node of the band, mean over scales."""
    fine = target.coords[inside]
    losses = []
    for level in reversed(decoded.subdivisions):
        labels = children_mask(level.coords, fine).to(torch.float32)
        losses.append(F.binary_cross_entropy_with_logits(level.keep_logits.float(), labels))
        fine = Halving.of(fine, target.batch_size).coarse
    return torch.stack(losses).mean()


def _divergence(posterior: Posterior) -> Tensor:
    """KL(N(mean, var) || N(0, 1)) per latent number (Kingma & Welling 2014, appendix B)."""
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()


def sharp_nodes(band: SparseTensor, *, angle: float, rulebook: Rulebook | None = None) -> Bool[Tensor, "N"]:
    """Return which nodes see, among their 26 neighbours, a normal that differs by more than `angle` [degree].

    The normal is the gradient of the distance by differences to the neighbours that are active.
    """
    rulebook = rulebook or Rulebook.of(band.coords, band.batch_size)
    count = len(band.coords)
    neighbours = rulebook.neighbours.long()
    padded = torch.cat([band.features[:, 0].float(), band.features.new_zeros(1, dtype=torch.float32)])
    active = neighbours < count
    slopes = []
    for axis in (9, 3, 1):  # offset of one step along i, j, k in the kernel of 27
        ahead, behind = 13 + axis, 13 - axis
        high = torch.where(active[:, ahead], padded[neighbours[:, ahead]], padded[:count])
        low = torch.where(active[:, behind], padded[neighbours[:, behind]], padded[:count])
        steps = active[:, ahead].float() + active[:, behind].float()
        slopes.append((high - low) / steps.clamp(min=1))
    normals = F.normalize(torch.stack(slopes, dim=1), dim=1)
    sharp = torch.zeros(count + 1, dtype=torch.bool, device=normals.device)
    others = torch.cat([normals, normals.new_zeros(1, 3)])
    for offset in range(13):  # of two neighbours each sees the other, so half of the offsets do
        other = neighbours[:, offset]
        cosine = (others.index_select(0, other) * normals).sum(dim=1)
        bent = active[:, offset] & (cosine < math.cos(math.radians(angle)))
        sharp[:count] |= bent
        sharp[other[bent]] = True
    return sharp[:count]


def with_margin(
    band: SparseTensor,
    *,
    downsampling: int,
    share: float = 1.0,
    generator: torch.Generator | None = None,
    rulebook: Rulebook | None = None,
) -> SparseTensor:
    """Return the band and neighbours of its nodes, at +-1: the sign of what they touch.

    What lies just beyond the band is decoded too when pruning errs; trained on it, the decoder gives it a sign. Train
    with a small random share: a decoder that always saw the whole margin errs twice as much where pruning removed it.

    Args:
        band: Signed distance over BAND (N, 1).
        downsampling: Nodes per latent cell; the margin stays within the latent cells of the band.
        share: Part of the margin that is taken [1].
        generator: Draws the share.
        rulebook: Rulebook of the band, if it is at hand.

    Raises:
        VolumeError: a part of the margin is asked for without a generator to draw it.
    """
    if share < 1 and generator is None:
        raise VolumeError(f"share is {share}: a part of the margin needs a generator to draw it")
    rulebook = rulebook or Rulebook.of(band.coords, band.batch_size)
    steps = torch.cartesian_prod(*[torch.arange(-1, 2, dtype=torch.int32, device=band.coords.device)] * 3)
    row, offset = (rulebook.neighbours == len(band.coords)).nonzero().unbind(dim=1)
    beside = band.coords[row]
    beside[:, 1:] += steps[offset]
    latent = cells_of_keys(torch.unique(cell_keys(_latent_cells(band.coords, downsampling))))
    held = find_cells(latent, _latent_cells(beside, downsampling))[1] & (beside >= 0).all(dim=1)
    keys, owner = torch.unique(cell_keys(beside[held]), return_inverse=True)
    # Sums of at most 26 single-precision numbers are exact in double precision, so their order does not matter.
    value = band.features[row[held], 0].double()
    total = torch.zeros(len(keys), dtype=torch.float64, device=value.device).index_add_(0, owner, value)
    if share < 1:
        taken = torch.rand(len(keys), generator=generator, device=generator and generator.device) < share
        keys, total = keys[taken.to(keys.device)], total[taken.to(keys.device)]
    margin = torch.where(total < 0, -1.0, 1.0).to(band.features.dtype)
    coords = torch.cat([band.coords, cells_of_keys(keys)])
    order = torch.argsort(cell_keys(coords))
    return SparseTensor(coords[order], torch.cat([band.features, margin[:, None]])[order], band.batch_size)


def _latent_cells(coords: Tensor, downsampling: int) -> Tensor:
    return torch.cat([coords[:, :1], coords[:, 1:] // downsampling], dim=1)
