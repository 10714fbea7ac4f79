"""How this machine rounds: libraries choose their kernels by the processor, and other kernels sum in another order.

The last bits of a product then differ, and once in a few thousand objects so does a decision that hangs on them: where
a hull is cut, whether a needle stays on its tip. Results of unlike machines are therefore kept apart.
"""

from __future__ import annotations

import hashlib
import math
import os
from functools import cache
from pathlib import Path

import numpy as np

PINS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR")
"""Environment that fixes the kernels of torch, whatever the processor; all three together."""
TORCH_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni", "amx_tile")
"""Features of a processor by which torch, oneDNN and MKL choose (as Linux names them)."""


@cache
def arithmetic_digest() -> str:
    """Return the SHA-256 of what numpy and scipy make of fixed numbers, and of what torch will choose by.

    The probe is small enough for every library to stay on one thread: the digest does not depend on their number.
    """
    from scipy.linalg import qr  # slow to import

    sha = hashlib.sha256()
    rng = np.random.Generator(np.random.PCG64(0))
    # Longer than the blocks in which kernels sum (256 to 512 numbers), below the sizes that are shared among threads.
    wide, tall = rng.standard_normal((8, 1024)), rng.standard_normal((1024, 7))
    square = rng.standard_normal((24, 24))
    for scalar in (np.float64, np.float32):
        a, b, c = (array.astype(scalar) for array in (wide, tall, square))
        eigenvalues, eigenvectors = np.linalg.eigh(c + c.T)
        results = [a @ b, a[0] @ a[1], a @ b[:, 0], eigenvalues, eigenvectors, np.linalg.inv(c), a.sum(), a.std(axis=1)]
        results += [np.exp(a), np.sin(a), np.log(np.abs(a)), np.sqrt(np.abs(a)), np.arctan2(a, a[::-1])]
        for result in results:
            sha.update(np.ascontiguousarray(result).tobytes())
    sha.update(np.ascontiguousarray(qr(square)[0]).tobytes())  # scipy brings a BLAS of its own
    # The C library's functions, which the engines call, have variants too.
    sha.update(repr([(math.exp(x), math.sin(x), math.atan(x), math.cosh(x)) for x in wide[0].tolist()]).encode())
    sha.update(repr(_torch_choice()).encode())
    return sha.hexdigest()


def _torch_choice() -> list[str]:
    if all(os.environ.get(name) for name in PINS):
        return [os.environ[name] for name in PINS]
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return []
    facts = dict(line.split(":", 1) for line in lines if line.startswith(("vendor_id", "flags")))
    told = {key.strip(): value for key, value in facts.items()}
    flags = set(told.get("flags", "").split())
    return [told.get("vendor_id", "").strip(), *(flag for flag in TORCH_FLAGS if flag in flags)]
