"""Time of Spatial Sparse Attention against torch's full attention, forward and backward, by number of tokens.

The tokens are the cells that the surface of a torus passes through, their features waves of the coordinates. Both
columns time a whole layer, from features to features: projections, and for SSA pooling, scores, top-k, all three
branches and the gate; the full layer calls `scaled_dot_product_attention`. Times are the least of several runs that
alternate between both, so that a busy machine disturbs both alike; `--clock cpu` counts processor time instead.

    python benchmarks/ssa.py [--tokens 4096 8192 16384 32768 65536] [--heads 6] [--kv-heads 1] [--threads 2]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from generators.ssa.attention import FullAttention, SpatialSparseAttention
from generators.ssa.blocks import Layouts

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
COLUMNS = ("device", "tokens", "blocks", "direction", "SSA ms", "full ms", "full / SSA")


def torus_cells(tokens: int) -> Tensor:
    """Return about `tokens` cells (0, i, j, k) whose centres lie within half a cell diagonal of a torus."""
    low, high = 16, 512
    while high - low > 1:
        side = (low + high) // 2
        low, high = (low, side) if len(_torus(side)) > tokens else (side, high)
    near = min((_torus(low), _torus(high)), key=lambda cells: abs(len(cells) - tokens))
    return torch.cat([near.new_zeros(len(near), 1), near], dim=1)


def _torus(side: int) -> Tensor:
    centre = torch.arange(side) - (side - 1) / 2
    ring = (centre[:, None].square() + centre.square()).sqrt() - 0.3 * side
    distance = (ring.square()[..., None] + centre.square()).sqrt() - 0.15 * side
    return (distance.abs() < math.sqrt(3) / 2).nonzero().int()


def features(coords: Tensor, width: int) -> Tensor:
    """Return sines and cosines of the coordinates with some noise (N, width), as the tokens of a network have.

    Noise alone would make selection prefer blocks of one or two tokens, whose mean is largest, and so seem too cheap.
    """
    frequency = 2 ** torch.linspace(0, -5, width // 6, device=coords.device)
    phase = (coords[:, 1:, None] * frequency).flatten(1)
    waves = F.pad(torch.cat([phase.sin(), phase.cos()], dim=1), (0, width - 6 * (width // 6)))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(waves.shape, generator=generator).to(coords.device)
    return F.layer_norm(waves + 0.3 * noise, (width,))


def least_times(layers: dict[str, nn.Module], x: Tensor, layouts: Layouts, *, runs: int, clock: Callable[[], float]):
    """Return (forward, backward) of each layer [s], the least over all runs but the first."""
    least = {name: (math.inf, math.inf) for name in layers}
    for run in range(runs + 1):
        for name, layer in layers.items():
            begin = _now(x, clock)
            loss = layer(x, layouts).sum()
            middle = _now(x, clock)
            loss.backward()
            forward, backward = middle - begin, _now(x, clock) - middle
            if run:
                least[name] = (min(least[name][0], forward), min(least[name][1], backward))
    return least


def _now(x: Tensor, clock: Callable[[], float]) -> float:
    if x.device.type == "cuda":
        torch.cuda.synchronize()
    return clock()


def growth(tokens: list[int], seconds: list[float]) -> float:
    """Return the exponent p of seconds ~ tokens^p by least squares of the logarithms."""
    x, y = torch.tensor(tokens).double().log(), torch.tensor(seconds).double().log()
    x = x - x.mean()
    return float((x * y).sum() / x.square().sum())


def measure(device: str, options: argparse.Namespace) -> None:
    """Print the rows of one device, and the exponents."""
    width = 32 * options.heads
    torch.manual_seed(0)
    ssa = SpatialSparseAttention(width, options.heads, options.kv_heads, options.block, options.top_k, shifted=True).to(
        device
    )
    full = FullAttention(width, options.heads, options.kv_heads).to(device)
    counts: list[int] = []
    seconds: dict[str, list[float]] = {"forward": [], "backward": []}
    for wanted in options.tokens:
        coords = torus_cells(wanted).to(device)
        layouts = Layouts.of(coords, 1, options.block)
        x = features(coords, width).requires_grad_()
        layers: dict[str, nn.Module] = {"ssa": ssa}
        if wanted <= options.full_up_to:
            layers["full"] = full
        least = least_times(layers, x, layouts, runs=options.runs, clock=CLOCKS[options.clock])
        counts.append(len(coords))
        for at, (direction, times) in enumerate(seconds.items()):
            mine, theirs = least["ssa"][at], least.get("full", (math.nan, math.nan))[at]
            times.append(mine)
            cells = [device, len(coords), len(layouts.plain.starts) - 1, direction, f"{1e3 * mine:.0f}"]
            cells += [f"{1e3 * theirs:.0f}", f"{theirs / mine:.1f}"] if "full" in layers else ["", ""]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    if len(counts) > 1:
        seconds["both"] = [a + b for a, b in zip(seconds["forward"], seconds["backward"], strict=True)]
        grown = ", ".join(f"{name} N^{growth(counts, times):.2f}" for name, times in seconds.items())
        print(f"growth of SSA from {counts[0]} to {counts[-1]} tokens on {device}: {grown}")


def main() -> None:
    """Print the table, on the CPU and on CUDA where there is one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[4096, 8192, 16384, 32768, 65536])
    parser.add_argument("--full-up-to", type=int, default=16384, help="most tokens at which full attention is timed")
    parser.add_argument("--heads", type=int, default=6, help="heads of 32 channels")
    parser.add_argument("--kv-heads", type=int, default=1)
    parser.add_argument("--block", type=int, default=8)
    parser.add_argument("--top-k", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    heads = f"{options.heads} heads of 32, {options.kv_heads} key-value"
    print(f"{heads}, block {options.block}, top-k {options.top_k}, float32, {options.threads} threads, {options.clock}")
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|", flush=True)
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        measure(device, options)


if __name__ == "__main__":
    main()
