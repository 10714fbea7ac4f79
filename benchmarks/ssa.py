"""Time of Spatial Sparse Attention against torch's full attention, forward and backward, by number of tokens.

The tokens are the cells that the surface of a torus passes through, their features waves of the coordinates. Both
columns time a whole layer, from features to features: projections, and for SSA pooling, scores, top-k, all three
branches and the gate; the full layer calls `scaled_dot_product_attention`. Times are the least of several runs that
alternate between both, so that a busy machine disturbs both alike; `--clock cpu` counts processor time instead.

On CUDA both layers are in bfloat16, the full one by FlashAttention and nothing else, times are medians by CUDA events,
and the parts of the SSA layer are timed at the most tokens. Lists that all layers share are made beforehand. `--memory`
adds the memory of the stage-2 network of the `large` preset at the tokens of 512^3 and 1024^3.

    python benchmarks/ssa.py [--devices cpu] [--tokens 4096 8192 16384 32768 65536] [--heads 6] [--kv-heads 1]
    python benchmarks/ssa.py --devices cuda [--tokens 2048 ... 131072] [--heads 32] [--kv-heads 2] [--memory]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import torch
from ssa_tokens import features, torus_cells
from torch import Tensor, nn

from generators.ssa.attention import FullAttention, SpatialSparseAttention
from generators.ssa.blocks import Layouts

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
COLUMNS = ("device", "tokens", "blocks", "direction", "SSA ms", "full ms", "full / SSA")


DEFAULTS = {
    "cpu": {"tokens": [4096, 8192, 16384, 32768, 65536], "heads": 6, "kv_heads": 1, "full_up_to": 16384},
    "cuda": {"tokens": [2**power for power in range(11, 18) if power != 12], "heads": 32, "kv_heads": 2}
    | {"full_up_to": 2**17},
}


def least_times(layers: dict[str, nn.Module], x: Tensor, layouts: Layouts, *, runs: int, clock: Callable[[], float]):
    """Return (forward, backward) of each layer [s], the least over all runs but the first."""
    least = {name: (math.inf, math.inf) for name in layers}
    for run in range(runs + 1):
        for name, layer in layers.items():
            begin = clock()
            loss = layer(x, layouts).sum()
            middle = clock()
            loss.backward()
            forward, backward = middle - begin, clock() - middle
            if run:
                least[name] = (min(least[name][0], forward), min(least[name][1], backward))
    return least


def growth(tokens: list[int], seconds: list[float]) -> float:
    """Return the exponent p of seconds ~ tokens^p by least squares of the logarithms."""
    x, y = torch.tensor(tokens).double().log(), torch.tensor(seconds).double().log()
    x = x - x.mean()
    return float((x * y).sum() / x.square().sum())


def measure(options: argparse.Namespace, device: str = "cpu") -> None:
    """Print the rows of the CPU, and the exponents."""
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|", flush=True)
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
    """Print the tables, of CUDA where there is such a device, and else of the CPU."""
    parser = argparse.ArgumentParser(description="Time of Spatial Sparse Attention against full attention.")
    parser.add_argument("--devices", choices=("cpu", "cuda", "both"), help="CUDA where there is one")
    parser.add_argument("--tokens", type=int, nargs="+")
    parser.add_argument("--full-up-to", type=int, help="most tokens at which full attention is timed")
    parser.add_argument("--heads", type=int, help="heads of 32 channels")
    parser.add_argument("--kv-heads", type=int)
    parser.add_argument("--block", type=int, default=8)
    parser.add_argument("--top-k", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3, help="on the CPU; on CUDA as many as fit into 2 s")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--memory", action="store_true", help="memory of the large network, on CUDA")
    given = vars(parser.parse_args())
    torch.set_num_threads(given["threads"])
    devices = given["devices"] or ("cuda" if torch.cuda.is_available() else "cpu")
    for device in ("cpu", "cuda") if devices == "both" else (devices,):
        chosen = DEFAULTS[device] | {name: value for name, value in given.items() if value is not None}
        options = argparse.Namespace(**chosen)
        sizes = (
            f"{options.heads} heads of 32, {options.kv_heads} key-value, block {options.block}, top-k {options.top_k}"
        )
        if device == "cpu":
            print(f"{sizes}, float32, {options.threads} threads, {options.clock}")
            measure(options)
            continue
        from ssa_cuda import measure_layers, measure_memory, measure_parts

        print(f"{sizes}, bfloat16, {torch.cuda.get_device_name(0)}, torch {torch.__version__}")
        measure_layers(options)
        measure_parts(options)
        if options.memory:
            measure_memory()


if __name__ == "__main__":
    main()
