"""How raw samples end in the whole chain: hulls, drops in both engines, certificate or rejection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

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
    samples: Sequence[Sample], config: build.BuildConfig, observe: Callable[[int, int], None]
) -> Certified:
    """Send samples through the chain of `build_asset`, one after the other."""
    verdicts: Counter[Verdict] = Counter()
    reasons: Counter[str] = Counter()
    for number, sample in enumerate(samples):
        ended = _end_of(sample, number, config)
        if isinstance(ended, Rejection):
            reasons[f"{sample.family}: {ended.stage}: {(ended.reason or ended.message)[:80]}"] += 1
        else:
            verdicts[ended.certificate.verdict] += 1
        observe(number + 1, len(samples))
    return Certified(len(samples), verdicts[Verdict.PASS], verdicts[Verdict.WARN], dict(reasons.most_common()))


def _end_of(sample: Sample, number: int, config: build.BuildConfig) -> build.CertifiedAsset | Rejection:
    if sample.blueprint is None:
        return Rejection("generate", sample.fault, np.nan, None, "", sample.reason)
    request = build.AssetRequest(f"sample_{number}", 0, sample.family)
    return build.finish_asset(build.Draft(request, sample.blueprint), config)
