"""Time of Triton's attention kernels on CUDA by how they are laid out on the chip: warps, stages, keys of a tile.

For each kernel of `attention_triton.Launches` others are tried while the rest stays as it is; every one is compiled and
timed (median of three, two passes before), until the seconds are used up, those most likely to be good first. What is
fastest belongs into `attention_triton.LAUNCH`.

    python benchmarks/ssa_launch.py [--tokens 131072] [--seconds 60]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from ssa_tokens import features, torus_cells
from torch import Tensor

from generators.ssa import attention_triton
from generators.ssa.attention import SpatialSparseAttention, fold_keys, fold_queries, folded_attention
from generators.ssa.attention_triton import Launch
from generators.ssa.blocks import Layouts, Segments

HEADS, KV_HEADS, BLOCK, TOP_K = 32, 2, 8, 8
TRIED = {
    "selection": [(64, 1, 1), (64, 1, 3), (32, 1, 2), (128, 1, 1), (128, 2, 1), (64, 2, 2), (128, 4, 2), (32, 1, 3)],
    "selection_backward": [(64, 1, 1), (32, 1, 1), (32, 1, 2), (64, 2, 1), (64, 2, 2), (128, 2, 1), (128, 4, 1)],
    "tiled": [(64, 4, 2), (128, 4, 2), (64, 4, 4), (128, 8, 2), (64, 8, 3), (32, 4, 3), (128, 4, 3)],
    "tiled_backward": [(64, 4, 3), (64, 8, 2), (32, 4, 2), (64, 4, 1), (128, 8, 1), (128, 8, 2), (32, 4, 3)],
    "scores": [(64, 4, 2), (128, 4, 2), (32, 4, 3), (64, 8, 2), (128, 8, 2), (64, 4, 1)],
    "keys": [(64, 4, 1), (64, 8, 2), (32, 4, 2), (128, 8, 1), (128, 8, 2), (64, 4, 3), (64, 8, 1), (32, 4, 1)],
}
"""Keys of a tile, warps and stages, besides those that are set."""


class Inputs:
    """Queries, keys and lists of one layer, as the layer would make them."""

    def __init__(self, tokens: int) -> None:
        torch.manual_seed(0)
        coords = torus_cells(tokens, "cuda")
        self.layouts = Layouts.of(coords, 1, BLOCK)
        width = 32 * HEADS
        layer = SpatialSparseAttention(width, HEADS, KV_HEADS, BLOCK, TOP_K, shifted=True).to("cuda", torch.bfloat16)
        with torch.no_grad():
            x = self.layouts.plain.sort(features(coords, width).bfloat16())
            self.q = fold_queries(layer.to_q(x).unflatten(1, (HEADS, -1)), KV_HEADS).contiguous()
            k, v = layer.to_kv(x).chunk(2, dim=1)
            pooled = layer.compress_k(k, self.layouts.plain), layer.compress_v(v, self.layouts.plain)
        self.k, self.v, self.pooled_k, self.pooled_v = (
            fold_keys(y.unflatten(1, (KV_HEADS, -1))).contiguous().requires_grad_() for y in (k, v, *pooled)
        )
        self.compression = self.layouts.compression(KV_HEADS)
        with torch.no_grad():
            chosen = folded_attention(self.q, self.pooled_k, self.pooled_v, self.compression, top_k=TOP_K)[2]
        self.q.requires_grad_()
        self.selection = self.layouts.selection(chosen, KV_HEADS)
        print(f"{len(coords)} tokens, {len(self.layouts.plain.starts) - 1} blocks, {torch.cuda.get_device_name(0)}")

    def timed(self, role: str) -> Callable[[], float]:
        """Return a function that runs what a role is part of and returns its time [ms]."""
        if role == "scores":
            return lambda: self._forward(self.pooled_k, self.pooled_v, self.compression, TOP_K)
        many = role == "keys"  # dK and dV of selection and compression
        sparse = (self.k, self.v, self.selection)
        dense = (self.pooled_k, self.pooled_v, self.compression)
        if role in ("selection", "tiled"):
            return lambda: self._forward(*(sparse if role == "selection" else dense), 0)
        if many:
            return lambda: self._backward(*sparse) + self._backward(*dense)
        return lambda: self._backward(*(sparse if role == "selection_backward" else dense))

    def _forward(self, k: Tensor, v: Tensor, lists: Segments, top_k: int) -> float:
        with torch.no_grad():
            return _elapsed(lambda: folded_attention(self.q, k, v, lists, top_k=top_k, backend="triton"))

    def _backward(self, k: Tensor, v: Tensor, lists: Segments) -> float:
        o = folded_attention(self.q, k, v, lists, backend="triton")[0]
        return _elapsed(lambda: torch.autograd.grad(o, (self.q, k, v), o.detach()))


def _elapsed(function: Callable[[], object]) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    function()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end)


def candidates() -> Iterator[tuple[str, Launch]]:
    """Yield what is set for every role, then the first other of every role, then the second, and so on."""
    for role in TRIED:
        yield role, getattr(attention_triton.LAUNCH, role)
    for at in range(max(map(len, TRIED.values()))):
        for role, tried in TRIED.items():
            if at < len(tried):
                yield role, Launch(*tried[at])


def sweep(tokens: int, seconds: float) -> dict[str, dict[Launch, float | str]]:
    """Return the time of every layout that was tried in time [ms], or what went wrong."""
    inputs, begin, standard = Inputs(tokens), time.perf_counter(), attention_triton.LAUNCH
    found: dict[str, dict[Launch, float | str]] = {role: {} for role in TRIED}
    for role, launch in candidates():
        if launch in found[role] or time.perf_counter() - begin > seconds:
            continue
        attention_triton.LAUNCH = replace(standard, **{role: launch})
        run = inputs.timed(role)
        try:
            for _ in range(2):
                run()
            found[role][launch] = statistics.median(run() for _ in range(3))
        except Exception as error:  # too much shared memory, or whatever a compiler says: the others go on
            found[role][launch] = f"{type(error).__name__}: {str(error)[:100]}"
        attention_triton.LAUNCH = standard
    return found


def main() -> None:
    """Print the times of every role, the fastest first; * is what is set."""
    parser = argparse.ArgumentParser(description="Times of Triton's attention kernels by launch parameters.")
    parser.add_argument("--tokens", type=int, default=131072)
    parser.add_argument("--seconds", type=float, default=50.0)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("this is about CUDA, and there is no such device")
    found = sweep(options.tokens, options.seconds)
    print("| kernel | keys | warps | stages | ms of the pass it is in |\n|---|---|---|---|---|")
    for role, times in found.items():
        order = sorted(times.items(), key=lambda item: item[1] if isinstance(item[1], float) else float("inf"))
        for launch, taken in order:
            star = "*" if launch == getattr(attention_triton.LAUNCH, role) else ""
            shown = f"{taken:.2f}" if isinstance(taken, float) else taken
            print(f"| {role}{star} | {launch.tile_keys} | {launch.warps} | {launch.stages} | {shown} |")


if __name__ == "__main__":
    main()
