"""Rows given to all tokens of a sample: the gradient is their sum, however it is taken."""

from __future__ import annotations

import pytest
import torch

from generators.ssa import spread as module
from generators.ssa.spread import spread


@pytest.mark.parametrize("by_product", [False, True])
def test_the_gradient_is_the_sum_over_the_tokens(by_product: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    right = module._sums
    monkeypatch.setattr(module, "_sums", lambda x, s, n, **_: right(x, s, n, by_product=by_product))
    sample = torch.tensor([0, 0, 2, 2, 2, 3])
    x = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.equal(spread(x, sample), x[sample])
    assert torch.autograd.gradcheck(lambda y: spread(y, sample), x)
