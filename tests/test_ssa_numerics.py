"""The numerics checks of `scenegen doctor --gpu`, here on the CPU: they pass, and they fail where they should."""

from __future__ import annotations

import pytest
import torch

from generators.ssa import attention, numerics
from generators.ssa.numerics import NumericsCheck, check_choice, check_numerics

CPU = torch.device("cpu")


def test_all_hold_on_the_cpu() -> None:
    checks = list(check_numerics(CPU))
    assert len(checks) == 18
    assert not [check for check in checks if not check.passed]


@pytest.mark.gpu
def test_all_hold_on_the_gpu() -> None:
    checks = list(check_numerics(torch.device("cuda")))
    assert len(checks) == 35
    assert not [check for check in checks if not check.passed]


def test_blocks_chosen_by_triton_are_right() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    assert check_choice(device, "triton").passed


def test_a_wrong_kernel_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values that are off by a part in ten thousand, and the second-best blocks."""
    right = attention.TiledAttention.apply

    def off(q, k, v, tiles, top_k):
        o, lse, best = right(q, k, v, tiles, top_k)
        return o * (1 + 1e-4), lse, best.roll(1, 0)

    monkeypatch.setattr(attention.TiledAttention, "apply", off)
    checks = list(check_numerics(CPU))
    failed = [check.name for check in checks if not check.passed]
    assert any("float32" in name for name in failed) and "tiles, chosen blocks" in failed


def test_not_a_number_fails() -> None:
    assert not NumericsCheck("x", float("nan"), numerics.HALF).passed
