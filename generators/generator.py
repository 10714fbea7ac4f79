"""The interface of everything that makes objects: analytic families today, a learned sampler beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from generators.blueprint import Blueprint


class Generator(Protocol):
    """Makes one object of a family from a random generator."""

    def generate(
        self,
        family: str,
        *,
        rng: np.random.Generator,
        resolution: int,
        parameters: Mapping[str, float] | None = None,
    ) -> Blueprint:
        """Return the blueprint of one object.

        Args:
            family: name of the kind of object.
            rng: the only source of chance; an equal state gives an equal blueprint.
            resolution: voxels along the longest side of the body [1].
            parameters: values that are not drawn, by name.

        Raises:
            FamilyError: the generator does not know the family.
            ParameterError: no solid can be made from the parameters at this resolution.
        """
        ...
