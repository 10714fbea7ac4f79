"""A large scene whose parts are all verified, as it is written and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from physics.check import Check, Verdict
from physics.model import Model
from scenegen.large.fill import Member
from scenegen.large.floor import Fixture


@dataclass(frozen=True, eq=False)
class LargeScene:
    """A scene whose components are all verified."""

    name: str
    layout: str
    seed: int
    models: dict[str, Model]
    """Furniture by kind."""
    fixtures: tuple[Fixture, ...]
    members: tuple[Member, ...]
    """Objects, in order of their names."""
    components: tuple[str, ...]
    """Component of each object; empty where it stands alone."""
    ground: str
    contacts: int
    """Most contacts of all components and of what stands alone, added up [1]."""
    checks: tuple[Check, ...]
    """Of each kind the worst in any component."""
    replaced: tuple[str, ...]
    """Objects that were taken out, and why."""
    merged: tuple[str, ...]
    """Components that came too close to each other and were judged again as one."""
    by_stance: tuple[str, ...]
    """Components that are stacks and stand as their stance was verified."""
    unsound: tuple[str, ...]
    """Stances that did not hold on the spot, and why; what stood as they do was settled and judged on its own."""
    counts: dict[str, int]
    """Objects alone, in components; components; largest component; objects and stacks verified on the spot; stances
    in use; components that stand as a stance of several copies does, and were not judged once more."""


def worst_checks(judged: Sequence[tuple[str, Sequence[Check]]]) -> tuple[Check, ...]:
    """Return of each kind of check the one that is worst against its limit; its body says where it was."""
    worst: dict[tuple[str, str, str], Check] = {}
    for where, checks in judged:
        for check in checks:
            key = (check.id, check.engine, check.name)
            if key not in worst or _severity(check) > _severity(worst[key]):
                worst[key] = replace(check, body=f"{where}: {check.body}" if check.body else where)
    return tuple(worst[key] for key in sorted(worst))


def _severity(check: Check) -> tuple[int, float]:
    order = (Verdict.PASS, Verdict.WARN, Verdict.UNDECIDED, Verdict.FAIL)
    return order.index(check.verdict), check.value / check.limit if check.limit else check.value
