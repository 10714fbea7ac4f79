"""The numerics checks of `scenegen doctor --gpu`, here on the CPU: they pass, and they fail where they should."""

from __future__ import annotations

import pytest
import torch

from generators.ssa import attention, numerics
from generators.ssa.numerics import NumericsCheck, check_choice, check_numerics, check_short_products

CPU = torch.device("cpu")


def test_all_hold_on_the_cpu() -> None:
    checks = list(check_numerics(CPU))
    assert len(checks) == 49
    assert not [check for check in checks if not check.passed]


@pytest.mark.gpu
def test_all_hold_on_the_gpu() -> None:
    checks = list(check_numerics(torch.device("cuda")))
    assert len(checks) == 79
    assert not [check for check in checks if not check.passed]


def test_blocks_chosen_by_triton_are_right() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    assert check_choice(device, "triton").passed


def test_products_of_short_operands_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the interpreter operands are not cut, and few rows take long enough."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setattr(numerics, "CASES", {"two lists": [[(0, 3), (5, 9)], [(3, 5)]]})
    checks = list(check_short_products(device))
    assert len(checks) == 2 and all(check.passed for check in checks)


def test_a_crash_fails_and_hides_no_other(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no kernel image")

    monkeypatch.setattr(attention.TiledAttention, "apply", broken)
    monkeypatch.setattr("sys.argv", ["numerics", "--device", "cpu"])
    monkeypatch.setattr(numerics, "CASES", {"one range of all": [[(0, 70)]] * 30})
    monkeypatch.setattr(numerics, "LAYERS", {"one block": numerics.LAYERS["one block"]})
    assert numerics.main() == 1
    said = capsys.readouterr().out.splitlines()
    assert "FAIL tiles, chosen blocks: RuntimeError: no kernel image" in said
    assert sum(line.startswith("FAIL tiles") for line in said) == 8
    assert said[-2].startswith("ok   sparse convolution") and said[-1] == "9 of 17 comparisons hold"


def test_a_wrong_kernel_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values that are off by a part in ten thousand, and the second-best blocks."""
    right = attention.TiledAttention.apply

    def off(q, k, v, tiles, top_k):
        o, lse, best = right(q, k, v, tiles, top_k)
        return o * (1 + 1e-4), lse, best.roll(1, 0)

    monkeypatch.setattr(attention.TiledAttention, "apply", off)
    monkeypatch.setattr(numerics, "LAYERS", {"one block": numerics.LAYERS["one block"]})
    checks = list(check_numerics(CPU))
    failed = [check.name for check in checks if not check.passed]
    assert any("float32" in name for name in failed) and "tiles, chosen blocks" in failed


def test_not_a_number_fails() -> None:
    assert not NumericsCheck("x", float("nan"), numerics.HALF).passed
