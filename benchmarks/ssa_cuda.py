"""What `benchmarks/ssa.py` measures on CUDA: layers against FlashAttention, parts of a layer, memory of a network."""

from __future__ import annotations

import argparse
import gc
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from ssa_tokens import features, torus_cells
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from generators.ssa.attention import FullAttention, SpatialSparseAttention, fold_keys, fold_queries, folded_attention
from generators.ssa.blocks import Layouts
from generators.ssa.condition import Condition
from generators.ssa.denoiser import LatentDenoiser
from generators.ssa.presets import PRESETS
from generators.ssa.sparse_tensor import SparseTensor

SECONDS = 2.0
"""Time for the repetitions of one layer at one number of tokens; at least 2 and at most 20 are made [s]."""
NETWORK_TOKENS = {"512^3": 10655, "1024^3": 45904}
"""Latent cells of an object at the resolutions of the `large` preset [1]."""


class FlashAttention(FullAttention):
    """The full layer for one sample by FlashAttention alone; keys are repeated where it cannot share them."""

    repeat = False

    def forward(self, x: Tensor, layouts: Layouts) -> Tensor:
        """Attend."""
        q = self.to_q(x).unflatten(1, (self.heads, -1)).transpose(0, 1)[None]
        k, v = (
            y.unflatten(1, (self.kv_heads, -1)).transpose(0, 1)[None] for y in self.to_kv(x).chunk(2, dim=1)
        )  # fmt: skip
        if self.repeat:
            k, v = (y.repeat_interleave(self.heads // self.kv_heads, dim=1) for y in (k, v))
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            o = F.scaled_dot_product_attention(q, k, v, enable_gqa=not self.repeat)
        return self.to_out(o[0].transpose(0, 1).flatten(1))


@dataclass(frozen=True)
class Timing:
    """What a layer took."""

    forward: float
    """Median [ms]."""
    backward: float
    """Median [ms]."""
    peak: float
    """Most memory held, parameters and inputs included [GiB]."""


def time_both(function: Callable[[], Tensor], leaves: list[Tensor]) -> Timing:
    """Time a function and its gradients with respect to the leaves by CUDA events, after two runs that do not count."""
    torch.cuda.reset_peak_memory_stats()
    pull = torch.randn_like(function().detach())
    forward, backward = [], []
    runs, done = 3, 0
    while done < runs:
        begin, middle, end = (torch.cuda.Event(enable_timing=True) for _ in range(3))
        begin.record()
        out = function()
        middle.record()
        torch.autograd.grad(out, leaves, pull, allow_unused=True)
        end.record()
        torch.cuda.synchronize()
        done += 1
        if done > 1:
            forward.append(begin.elapsed_time(middle))
            backward.append(middle.elapsed_time(end))
        if done == 2:
            runs = 1 + min(20, max(2, int(SECONDS / (1e-3 * (forward[0] + backward[0])))))
    peak = torch.cuda.max_memory_allocated() / 2**30
    return Timing(statistics.median(forward), statistics.median(backward), peak)


def time_layer(layer: nn.Module, x: Tensor, layouts: Layouts) -> Timing:
    """Time a layer, and the gradients of its input and its parameters."""
    return time_both(lambda: layer(x, layouts), [x, *layer.parameters()])


def attempt(function: Callable[[], Timing]) -> Timing | str:
    """Return the times, or what went wrong, so that the other rows are measured all the same."""
    try:
        return function()
    except torch.OutOfMemoryError:
        return "out of memory"
    except Exception as error:  # whatever it is, it is printed
        return f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        gc.collect()
        torch.cuda.empty_cache()


def layer_pair(options: argparse.Namespace) -> dict[str, nn.Module]:
    """Return the two layers in bfloat16."""
    width = 32 * options.heads
    torch.manual_seed(0)
    sizes = (width, options.heads, options.kv_heads)
    flash = FlashAttention(*sizes)
    try:
        q = torch.zeros(1, options.heads, 64, 32, device="cuda", dtype=torch.bfloat16)
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            k = q[:, : options.kv_heads]
            F.scaled_dot_product_attention(q, k, k, enable_gqa=True)
    except RuntimeError:
        flash.repeat = True
        print("FlashAttention does not share keys here; they are repeated, within the time of the full layer")
    ssa = SpatialSparseAttention(*sizes, options.block, options.top_k, shifted=True)
    return {"ssa": ssa.to("cuda", torch.bfloat16), "full": flash.to("cuda", torch.bfloat16)}


def measure_layers(options: argparse.Namespace) -> None:
    """Print times of both layers by number of tokens."""
    layers = layer_pair(options)
    columns = ("tokens", "blocks", "direction", "SSA ms", "full ms", "full / SSA", "SSA GiB", "full GiB")
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|", flush=True)
    for wanted in options.tokens:
        coords = torus_cells(wanted, "cuda")
        layouts = Layouts.of(coords, 1, options.block)
        x = features(coords, 32 * options.heads).bfloat16().requires_grad_()
        made: dict[str, Timing | str] = {}
        for name, layer in layers.items():
            if name == "ssa" or wanted <= options.full_up_to:
                made[name] = attempt(partial(time_layer, layer, x, layouts))
        for direction in ("forward", "backward"):
            cells = [str(len(coords)), str(len(layouts.plain.starts) - 1), direction]
            cells += [_milliseconds(made.get(name, ""), direction) for name in layers]
            ssa, full = made["ssa"], made.get("full")
            both = isinstance(ssa, Timing) and isinstance(full, Timing)
            cells.append(f"{getattr(full, direction) / getattr(ssa, direction):.2f}" if both else "")
            cells += [f"{t.peak:.1f}" if isinstance(t := made.get(name), Timing) else "" for name in layers]
            print("| " + " | ".join(cells) + " |", flush=True)


def _milliseconds(timing: Timing | str, direction: str) -> str:
    return f"{getattr(timing, direction):.2f}" if isinstance(timing, Timing) else timing


def measure_parts(options: argparse.Namespace) -> None:
    """Print times of the parts of the SSA layer at the largest number of tokens."""
    layer = layer_pair(options)["ssa"]
    assert isinstance(layer, SpatialSparseAttention)
    coords = torus_cells(max(options.tokens), "cuda")
    layouts, kv_heads = Layouts.of(coords, 1, options.block), options.kv_heads

    def folded(x: Tensor) -> Tensor:
        return fold_keys(x.unflatten(1, (kv_heads, -1))).contiguous().requires_grad_()

    with torch.no_grad():
        x = layouts.plain.sort(features(coords, 32 * options.heads).bfloat16())
        q = fold_queries(layer.to_q(x).unflatten(1, (options.heads, -1)), kv_heads).contiguous()
        k, v = layer.to_kv(x).chunk(2, dim=1)
        pooled = layer.compress_k(k, layouts.plain), layer.compress_v(v, layouts.plain)
    q.requires_grad_()
    keys, pooled = (folded(k), folded(v)), (folded(pooled[0]), folded(pooled[1]))
    lists = layouts.compression(kv_heads)
    top_k = min(options.top_k, layouts.fewest_blocks)
    chosen = folded_attention(q, *pooled, lists, top_k=top_k)[2]
    parts: dict[str, tuple[Callable[[], Tensor], tuple[Tensor, ...]]] = {
        "compression": (lambda: folded_attention(q, *pooled, lists)[0], pooled),
        "compression, scores, top-k": (lambda: folded_attention(q, *pooled, lists, top_k=top_k)[0], pooled),
        "selection with its lists": (
            lambda: folded_attention(q, *keys, layouts.selection(chosen, kv_heads))[0],
            keys,
        ),
        "window": (lambda: folded_attention(q, *keys, layouts.window(kv_heads, shifted=True))[0], keys),
        "pooling": (lambda: layer.compress_k(k_leaf, layouts.plain), ()),
        "projections and gate": (lambda: layer.to_out(layer.to_q(x_leaf)) * layer.gate(x_leaf).sum(), ()),
    }
    k_leaf, x_leaf = k.detach().contiguous().requires_grad_(), x.detach().requires_grad_()
    print(
        f"\nparts at {len(coords)} tokens, {len(layouts.plain.starts) - 1} blocks\n| part | forward ms | backward ms |"
    )
    print("|---|---|---|", flush=True)
    for name, (function, of_keys) in parts.items():
        leaves = [q, *of_keys] if of_keys else [k_leaf if name == "pooling" else x_leaf]
        timing = attempt(partial(time_both, function, leaves))
        cells = [_milliseconds(timing, direction) for direction in ("forward", "backward")]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def measure_memory() -> None:
    """Print the most memory of one forward and backward pass of stage 2 of the `large` preset."""
    preset = PRESETS["large"]
    torch.manual_seed(0)
    with torch.device("cuda"):
        network = LatentDenoiser(preset, 8)
    count = sum(p.numel() for p in network.parameters()) / 1e6
    print(f"\nstage 2 of 'large', {count:.0f} M parameters, bfloat16 by autocast, one forward and backward pass")
    print("| resolution | tokens | blocks recomputed | ms | peak GiB |\n|---|---|---|---|---|", flush=True)
    for recompute in (False, True):
        if recompute:
            for block in network.trunk.blocks:
                block.forward = _recomputed(block.forward)
        for name, wanted in NETWORK_TOKENS.items():
            coords = torus_cells(wanted, "cuda")
            network.zero_grad(set_to_none=True)
            timing = attempt(partial(_one_pass, network, coords))
            cells = (f"{timing.forward:.0f}", f"{timing.peak:.1f}") if isinstance(timing, Timing) else ("", timing)
            print(f"| {name} | {len(coords)} | {recompute} | {' | '.join(cells)} |", flush=True)


def _recomputed(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda *inputs: checkpoint(forward, *inputs, use_reentrant=False)


def _one_pass(network: LatentDenoiser, coords: Tensor) -> Timing:
    """Run once; the time (forward and backward together, as `forward`) includes what is compiled and listed anew."""
    torch.cuda.reset_peak_memory_stats()
    x = SparseTensor(coords, features(coords, 18)[:, : network.channels].contiguous(), 1)
    coarse, t = torch.zeros(len(coords), device="cuda"), torch.full((1,), 0.5, device="cuda")
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    with torch.autocast("cuda", torch.bfloat16):
        out = network(x, t, Condition.null(1, "cuda"), coarse)
    out.float().square().sum().backward()
    end.record()
    torch.cuda.synchronize()
    return Timing(begin.elapsed_time(end), 0.0, torch.cuda.max_memory_allocated() / 2**30)
