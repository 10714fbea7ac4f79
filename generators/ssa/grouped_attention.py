"""Attention to key ranges by torch's own kernel: query rows grouped by range, groups padded to one size.

For rows with one range each, as in compression, windows, and selection where every block is chosen. Where groups are
small and much alike this is several times faster than tiles; where they are not, padding eats the gain.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

MOST_PADDING = 9.0
"""Padded scores over scores up to which groups are padded [1].

Shifted windows of a whole lattice (8 to 64 keys) are padded 8 times."""
MOST_SCORES = 2**25
"""Most padded scores [1]; beyond, tiles hold less memory at a time and are as fast."""


@dataclass(frozen=True, eq=False)
class Groups:
    """Query rows by the range of keys that they share, each group padded to the size of the largest."""

    rows: Int64[Tensor, "T N"] | None
    """Query row of each place, any row where the group has ended; None where places are rows in order."""
    keys: Int64[Tensor, "T M"] | None
    """Key of each place, likewise."""
    seen: Bool[Tensor, "T 1 1 M"] | None
    """Whether there is a key at the place; None where there always is."""
    place: Int64[Tensor, "R"] | None
    """Place of each query row among all T N."""
    shape: tuple[int, int, int]
    """T, N and M."""

    @classmethod
    def of(cls, starts: Tensor, ends: Tensor, ranges: Tensor, keys: int) -> Groups | None:
        """Group rows by the range each attends to; None where that would pad too much."""
        used, group = torch.unique(ranges, return_inverse=True)
        counts, lengths = torch.bincount(group), (ends - starts)[used]
        shape = len(used), int(counts.max()), int(lengths.max())
        scores, padded = int((counts * lengths).sum()), shape[0] * shape[1] * shape[2]
        if padded > min(MOST_SCORES, MOST_PADDING * scores):
            return None
        device = ranges.device
        order = torch.argsort(group, stable=True)
        sorted_group, first = group[order], counts.cumsum(0) - counts
        at = torch.arange(shape[1], device=device)
        rows = order[first[:, None] + torch.minimum(at, counts[:, None] - 1)]
        place = torch.empty_like(order)
        rank = torch.arange(len(order), device=device) - first[sorted_group]
        place[order] = shape[1] * sorted_group + rank
        at = torch.arange(shape[2], device=device)
        seen = at < lengths[:, None]
        key = starts[used][:, None] + torch.minimum(at, lengths[:, None] - 1)
        in_order = torch.equal(rows.flatten(), torch.arange(len(ranges), device=device))
        same_keys = torch.equal(key.flatten(), torch.arange(keys, device=device))
        return cls(
            None if in_order else rows,
            None if same_keys else key,
            None if bool(seen.all()) else seen[:, None, None],
            None if in_order else place,
            shape,
        )

    def attend(
        self, q: Float[Tensor, "R G D"], k: Float[Tensor, "K D"], v: Float[Tensor, "K D"]
    ) -> Float[Tensor, "R G D"]:
        """Return softmax attention, scores scaled by D^-1/2; heads that share a key are rows of one product."""
        groups, rows, keys = self.shape
        heads, width = q.shape[1:]
        taken = q if self.rows is None else q.index_select(0, self.rows.flatten())
        k, v = (x if self.keys is None else x.index_select(0, self.keys.flatten()) for x in (k, v))
        o = F.scaled_dot_product_attention(
            taken.view(groups, 1, rows * heads, width),
            k.view(groups, 1, keys, width),
            v.view(groups, 1, keys, width),
            attn_mask=self.seen,
        )
        o = o.reshape(groups * rows, heads, width)
        return o if self.place is None else o.index_select(0, self.place)
