"""Spatial Sparse Attention (Direct3D-S2, arXiv 2505.17412, section 3.2): three branches, mixed by a gate per token.

Compression sees the whole object as one pooled key per block, selection sees all tokens of the few blocks that
compression found most relevant, the window sees the neighbourhood. All three are `segment_attention`.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from generators.errors import BackendError, ParameterError, VolumeError
from generators.ssa.blocks import BlockLayout, Layouts, Segments
from generators.ssa.largest import largest
from generators.ssa.tiled_attention import TiledAttention

Backend = Literal["auto", "ref", "tiles", "triton"]
BACKENDS = ("auto", "ref", "tiles", "triton")
BRANCHES = ("compression", "selection", "window")


def segment_attention(
    q: Float[Tensor, "N H D"],
    k: Float[Tensor, "M Hkv D"],
    v: Float[Tensor, "M Hkv D"],
    segments: Segments,
    *,
    backend: Backend = "auto",
) -> tuple[Float[Tensor, "N H D"], Float[Tensor, "N H"]]:
    """Return softmax attention of every query row over its key ranges, and the log of the sum of exponentials.

    Heads h * H / Hkv and following share key-value head h (grouped queries). Scores are scaled by D^-1/2.

    Args:
        q: Queries.
        k: Keys.
        v: Values.
        segments: Lists for N rows, the same for all heads.
        backend: `ref` forms the N x M mask; `tiles` never does, on any device; `triton` needs CUDA, keeps half
            precision, and takes ranges that do not overlap; `auto` is `triton` on CUDA where it is installed and the
            type is not float64, and else `tiles`.

    Raises:
        VolumeError: shapes do not match, a row has no keys, or Triton is given overlapping ranges.
        BackendError: there is no such backend, or it does not run here.
    """
    (rows, heads, width), (keys, kv_heads, _) = q.shape, k.shape
    if heads % kv_heads or k.shape != v.shape or k.shape[2] != width:
        raise VolumeError(f"queries {tuple(q.shape)} do not fit keys {tuple(k.shape)} and values {tuple(v.shape)}")
    if len(segments.offsets) != rows + 1:
        raise VolumeError(f"{len(segments.offsets) - 1} lists of key ranges for {rows} query rows")
    folded = segments.check(keys).per_head(kv_heads, keys)
    o, lse, _ = folded_attention(fold_queries(q, kv_heads), fold_keys(k), fold_keys(v), folded, backend=backend)
    return unfold_queries(o, kv_heads), unfold_queries(lse[..., None], kv_heads)[..., 0]


def folded_attention(
    q: Float[Tensor, "R G D"],
    k: Float[Tensor, "K D"],
    v: Float[Tensor, "K D"],
    segments: Segments,
    *,
    top_k: int = 0,
    backend: Backend = "auto",
) -> tuple[Float[Tensor, "R G D"], Float[Tensor, "R G"], Int64[Tensor, "R top_k"]]:
    """`segment_attention` with key-value heads laid one after the other in rows and keys, G heads sharing a key.

    Third comes the list of keys with the largest sum over the G heads of exp(score - lse): ascending, the lower key
    among equals, -1 where a row has fewer keys. It takes no gradient. Half precision is computed in single, but for the
    operands of Triton's matrix products.
    """
    chosen = choose_backend(backend, q.device.type, q.dtype)
    if top_k and chosen != "ref" and len(segments.ranges) != len(q):
        raise VolumeError("the best keys are found among one range per row")
    if chosen == "triton":
        return _on_triton(q, k, v, segments, top_k)
    dtype = torch.promote_types(q.dtype, torch.float32)
    with torch.autocast(q.device.type, enabled=False):
        q, k, v = q.to(dtype), k.to(dtype) * q.shape[2] ** -0.5, v.to(dtype)  # keys are fewer than queries
        if chosen == "ref":
            return reference_attention(q, k, v, segments, top_k=top_k)
        slabs = segments.tiles(q.shape[1], q.shape[2])
        return TiledAttention.apply(q, k, v, slabs, top_k)  # pyright: ignore[reportReturnType]


def choose_backend(backend: Backend, device: str, dtype: torch.dtype) -> Backend:
    """Return the backend that will run.

    Raises:
        BackendError: there is no such backend.
    """
    if backend not in BACKENDS:
        raise BackendError(f"attention backend '{backend}' does not exist, choose one of {', '.join(BACKENDS)}")
    if backend != "auto":
        return backend
    return "triton" if device == "cuda" and dtype != torch.float64 and triton_installed() else "tiles"


@cache
def triton_installed() -> bool:
    """Whether the package triton can be imported."""
    return find_spec("triton") is not None


def _on_triton(q: Tensor, k: Tensor, v: Tensor, segments: Segments, top_k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Run the kernels of `attention_triton`; without autocast, and with exact products in single precision."""
    if not triton_installed():
        raise BackendError("attention backend 'triton' needs the package triton; install it, or use 'auto'")
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if not (q.is_cuda or interpreted) or q.dtype == torch.float64:
        raise BackendError(f"attention backend 'triton' takes no {q.dtype} on {q.device}; use 'auto'")
    from generators.ssa.attention_triton import TritonAttention

    with torch.autocast(q.device.type, enabled=False):
        return TritonAttention.apply(q, k, v, segments, top_k, "ieee")  # pyright: ignore[reportReturnType]


def reference_attention(
    q: Float[Tensor, "R G D"], k: Float[Tensor, "K D"], v: Float[Tensor, "K D"], segments: Segments, *, top_k: int
) -> tuple[Float[Tensor, "R G D"], Float[Tensor, "R G"], Int64[Tensor, "R top_k"]]:
    """The definition: a dense mask and a softmax. For tests and small inputs."""
    seen = range_mask(segments, len(k))
    scores = torch.einsum("rgd,kd->rgk", q, k).masked_fill(~seen[:, None], -torch.inf)
    lse = torch.logsumexp(scores, dim=2)
    shares = torch.exp(scores - lse[..., None])
    total = shares.detach().sum(dim=1).masked_fill(~seen, -1)
    best = largest(total, min(top_k, len(k))) if top_k else total.new_zeros(len(q), 0, dtype=torch.int64)
    unseen = total.gather(1, best) < 0
    best = best.masked_fill(unseen, len(k)).sort(dim=1).values.masked_fill(unseen.sort(dim=1).values, -1)
    return shares @ v, lse, F.pad(best, (0, top_k - best.shape[1]), value=-1)


def range_mask(segments: Segments, keys: int) -> Tensor:
    """Return which keys each row sees, bool (R, keys)."""
    place = torch.arange(keys, device=segments.starts.device)
    of_range = (place >= segments.starts[:, None]) & (place < segments.ends[:, None])
    per_row = segments.offsets.diff()
    row = torch.repeat_interleave(torch.arange(len(per_row), device=place.device), per_row)
    listed = torch.zeros(len(per_row), len(of_range), device=place.device)
    listed[row, segments.ranges] = 1
    return listed @ of_range.float() > 0


def fold_queries(q: Float[Tensor, "N H D"], kv_heads: int) -> Float[Tensor, "R G D"]:
    """Lay the groups of heads one after the other: row h * N + i."""
    return q.unflatten(1, (kv_heads, -1)).transpose(0, 1).flatten(0, 1)


def unfold_queries(o: Float[Tensor, "R G D"], kv_heads: int) -> Float[Tensor, "N H D"]:
    """Invert `fold_queries`."""
    return o.unflatten(0, (kv_heads, -1)).transpose(0, 1).flatten(1, 2)


def fold_keys(k: Float[Tensor, "M Hkv D"]) -> Float[Tensor, "K D"]:
    """Lay the key-value heads one after the other: key h * M + j."""
    return k.transpose(0, 1).flatten(0, 1)


class BlockCompression(nn.Module):
    """One key or value per block: 1x1 convolution, SiLU, mean over the block (compression v1 of Direct3D-S2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "N C"], layout: BlockLayout) -> Float[Tensor, "K C"]:
        """Return the mean of every block; `x` is in block order. Summed in single precision at least."""
        h = F.silu(self.mix(x))
        sizes = layout.starts.diff()
        single = h.to(torch.promote_types(h.dtype, torch.float32))
        total = torch.segment_reduce(single, "sum", lengths=sizes, axis=0, unsafe=True)  # its checks wait for a GPU
        return (total / sizes[:, None]).to(x.dtype)


class SpatialSparseAttention(nn.Module):
    """Compression, selection and window over one partition into blocks, each weighed by sigmoid(gate(token))."""

    def __init__(
        self,
        width: int,
        heads: int,
        kv_heads: int,
        block: int,
        top_k: int,
        *,
        shifted: bool,
        branches: tuple[str, ...] = BRANCHES,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        _check_sizes(width, heads, kv_heads)
        if not branches or set(branches) - set(BRANCHES) or block < 1 or top_k < 1:
            raise ParameterError(
                f"branches {branches}, block {block}, top_k {top_k}: expected some of {BRANCHES}, >= 1"
            )
        if "selection" in branches and "compression" not in branches:
            raise ParameterError("selection ranks blocks by the scores of compression; add that branch")
        head_width = width // heads
        self.heads, self.kv_heads, self.block, self.top_k = heads, kv_heads, block, top_k
        self.shifted, self.branches = shifted, branches
        self.backend: Backend = backend
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_kv = nn.Linear(width, 2 * kv_heads * head_width, bias=False)
        self.gate = nn.Linear(width, len(branches), bias=False)
        self.to_out = nn.Linear(width, width, bias=False)
        if "compression" in branches:
            self.place = nn.Parameter(torch.zeros(block**3, kv_heads * head_width))
            self.compress_k = BlockCompression(kv_heads * head_width)
            self.compress_v = BlockCompression(kv_heads * head_width)

    def forward(self, x: Float[Tensor, "N C"], layouts: Layouts) -> Float[Tensor, "N C"]:
        """Attend; rows are in the order of the coordinates from which `layouts` was made."""
        if layouts.block != self.block or len(layouts.plain.order) != len(x):
            raise VolumeError(
                f"layouts of {len(layouts.plain.order)} tokens in blocks of {layouts.block} were given to attention "
                f"over {len(x)} tokens in blocks of {self.block}"
            )
        x = layouts.plain.sort(x)
        q = fold_queries(self.to_q(x).unflatten(1, (self.heads, -1)), self.kv_heads)
        kv = self.to_kv(x)
        k, v = kv.chunk(2, dim=1)
        outputs = []
        if "compression" in self.branches:
            o, chosen = self._compression(q, k, v, layouts)
            outputs.append(o)
            if "selection" in self.branches:
                whole = layouts.most_blocks <= self.top_k
                segments = layouts.everything(self.kv_heads) if whole else layouts.selection(chosen, self.kv_heads)
                outputs.append(self._attend(q, self._keys(k), self._keys(v), segments))
        if "window" in self.branches:
            segments = layouts.window(self.kv_heads, shifted=self.shifted)
            k, v = (layouts.to_shifted(kv) if self.shifted else kv).chunk(2, dim=1)
            outputs.append(self._attend(q, self._keys(k), self._keys(v), segments))
        mixed = self._mix(torch.sigmoid(self.gate(x)), outputs)
        return layouts.plain.restore(self.to_out(mixed.to(x.dtype)))

    def _mix(self, gates: Float[Tensor, "N B"], outputs: list[Float[Tensor, "R G D"]]) -> Float[Tensor, "N C"]:
        """Weigh each branch by its gate."""
        mixed = None
        for gate, output in zip(gates.split(1, dim=1), outputs, strict=True):
            o = unfold_queries(output, self.kv_heads).flatten(1)
            mixed = gate * o if mixed is None else torch.addcmul(mixed, gate.to(o.dtype), o)
        assert mixed is not None
        return mixed

    def _compression(self, q: Tensor, k: Tensor, v: Tensor, layouts: Layouts) -> tuple[Tensor, Int64[Tensor, "R K"]]:
        """Attend to the pooled keys, and choose the blocks that the heads of a group attend to most."""
        layout = layouts.plain
        pooled_k = self._keys(self.compress_k(k + F.embedding(layout.place, self.place).to(k.dtype), layout))
        pooled_v = self._keys(self.compress_v(v, layout))
        segments = layouts.compression(self.kv_heads)
        choose = "selection" in self.branches and layouts.most_blocks > self.top_k
        top_k = self.top_k if choose else 0
        o, _, chosen = folded_attention(q, pooled_k, pooled_v, segments, top_k=top_k, backend=self.backend)
        return o, chosen

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
        return folded_attention(q, k, v, segments, backend=self.backend)[0]

    def _keys(self, k: Float[Tensor, "M C"]) -> Float[Tensor, "K D"]:
        return fold_keys(k.unflatten(1, (self.kv_heads, -1)))


class FullAttention(nn.Module):
    """Every token attends to all tokens of its sample: the baseline, by torch's own attention."""

    def __init__(self, width: int, heads: int, kv_heads: int) -> None:
        super().__init__()
        _check_sizes(width, heads, kv_heads)
        self.heads, self.kv_heads = heads, kv_heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_kv = nn.Linear(width, 2 * kv_heads * (width // heads), bias=False)
        self.to_out = nn.Linear(width, width, bias=False)

    def forward(self, x: Float[Tensor, "N C"], layouts: Layouts) -> Float[Tensor, "N C"]:
        """Attend; samples are padded to the longest and all computed at once."""
        layout, bounds = layouts.plain, layouts.plain.sample_tokens
        lengths = bounds.diff()
        place = torch.arange(int(lengths.max()), device=x.device)
        inside = place < lengths[:, None]
        index = layout.order[(bounds[:-1, None] + place).clamp(max=len(x) - 1)]
        q = self.to_q(x)[index].unflatten(2, (self.heads, -1)).transpose(1, 2)
        k, v = (y[index].unflatten(2, (self.kv_heads, -1)).transpose(1, 2) for y in self.to_kv(x).chunk(2, dim=1))
        mask = None if len(lengths) == 1 else inside[:, None, None]
        o = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
        return self.to_out(o.transpose(1, 2).flatten(2)[inside])[layout.position]


def _check_sizes(width: int, heads: int, kv_heads: int) -> None:
    if width % heads or heads % kv_heads:
        raise ParameterError(
            f"width {width}, {heads} heads, {kv_heads} key-value heads: each must divide the one before"
        )
