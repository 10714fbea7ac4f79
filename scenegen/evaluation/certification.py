"""How raw samples end in the whole chain: hulls, drops in both engines, certificate or rejection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from generators.process_map import OrderedMap
from physics.check import Verdict
from scenegen.assets import build
from scenegen.evaluation.samples import Sample
from scenegen.pipeline.stage import Rejection


@dataclass(frozen=True)
class Certified:
    """Counts over samples [1]."""

    samples: int
    passed: int
    warned: int
    reasons: dict[str, int]
    """Rejected samples, by family, stage and check."""

    @property
    def share(self) -> float:
        """Samples with PASS or WARN over all [1]."""
        return (self.passed + self.warned) / self.samples if self.samples else np.nan


def certify_samples(
    samples: Sequence[Sample],
    config: build.BuildConfig,
    observe: Callable[[int, int], None],
    *,
    apply: OrderedMap,
) -> Certified:
    """Send samples through the chain of `build_asset`."""
    verdicts: Counter[Verdict] = Counter()
    reasons: Counter[str] = Counter()
    ends = apply(_end_of, [(sample, number, config) for number, sample in enumerate(samples)])
    for done, (sample, end) in enumerate(zip(samples, ends, strict=True), start=1):
        if isinstance(end, Verdict):
            verdicts[end] += 1
        else:
            reasons[f"{sample.family}: {end}"] += 1
        observe(done, len(samples))
    return Certified(len(samples), verdicts[Verdict.PASS], verdicts[Verdict.WARN], dict(reasons.most_common()))


def _end_of(task: tuple[Sample, int, build.BuildConfig]) -> Verdict | str:
    """Return the verdict of a sample, or where and why it was rejected."""
    sample, number, config = task
    if sample.blueprint is None:
        return f"generate: {sample.fault[:80]}"
    request = build.AssetRequest(f"sample_{number}", 0, sample.family)
    ended = build.finish_asset(build.Draft(request, sample.blueprint), config)
    if isinstance(ended, Rejection):
        return f"{ended.stage}: {(ended.reason or ended.message)[:80]}"
    return ended.certificate.verdict
