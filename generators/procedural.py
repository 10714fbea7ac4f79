"""ProceduralGenerator: members of analytic families, sampled into volumes."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from generators.blueprint import Blueprint, BodyBlueprint, PartBlueprint
from generators.errors import FamilyError, ParameterError
from generators.families import FAMILIES
from generators.families.family import Family, Part
from generators.sampling import sample_volume

LEAST_RESOLUTION = 16
"""Fewest voxels along the longest side of a body [1]."""

ATTEMPTS = 64
"""Draws tried to find values that suit given parameters [1]."""


@dataclass(frozen=True)
class ProceduralConfig:
    """Limits of sampling."""

    least_wall_voxels: float = 2.0
    """Thinnest wall or gap that is sampled [voxel]; below two, a wall may miss the lattice and open."""
    band_voxels: float = 2.0
    """Half width of the narrow band [voxel]; 3 gives the same surface and normals and takes a third longer."""
    attempts: int = ATTEMPTS
    """Draws tried to find values that suit given parameters [1]."""


@dataclass(frozen=True)
class ProceduralGenerator:
    """Draws parameters of a family, builds the solids and samples them on one lattice."""

    config: ProceduralConfig = ProceduralConfig()

    def generate(
        self,
        family: str,
        *,
        rng: np.random.Generator,
        resolution: int,
        parameters: Mapping[str, float] | None = None,
    ) -> Blueprint:
        """Return the blueprint of one member; see `generators.generator.Generator`."""
        kind = find_family(family)
        if resolution < LEAST_RESOLUTION:
            raise ParameterError(f"resolution is {resolution} voxels, at least {LEAST_RESOLUTION} are needed")
        params = draw_params(kind, rng, parameters, attempts=self.config.attempts)
        parts = kind.make(params)
        bounds = np.stack(
            [
                np.min([p.solid.bounds[0] for p in parts], axis=0),
                np.max([p.solid.bounds[1] for p in parts], axis=0),
            ]
        )
        voxel = float((bounds[1] - bounds[0]).max()) / resolution
        for part in parts:
            self._require_wall(family, part, voxel, resolution)
        made = tuple(
            PartBlueprint(
                name=part.name,
                volume=sample_volume(
                    part.solid.distance, bounds, voxel_size=voxel, band_voxels=self.config.band_voxels
                ),
                material=part.materials[int(rng.integers(len(part.materials)))],
                genus=part.solid.genus,
                components=part.solid.components,
            )
            for part in parts
        )
        axis = parts[0].solid.symmetry_axis if len(parts) == 1 else None
        record = {name: float(value) for name, value in dataclasses.asdict(params).items()}
        return Blueprint(family, (BodyBlueprint(family, made, axis),), parameters=record)

    def _require_wall(self, family: str, part: Part, voxel: float, resolution: int) -> None:
        least = self.config.least_wall_voxels * voxel
        if part.solid.wall < least * (1 - 1e-9):
            needed = int(np.ceil(resolution * least / part.solid.wall))
            raise ParameterError(
                f"{family}: the thinnest wall or gap of {part.name!r} is {part.solid.wall * 1e3:.3g} mm, at least "
                f"{self.config.least_wall_voxels:g} voxels of {voxel * 1e3:.3g} mm = {least * 1e3:.3g} mm are needed. "
                f"Raise the resolution from {resolution} to {needed}, or the wall."
            )


def draw_params(
    kind: Family, rng: np.random.Generator, parameters: Mapping[str, float] | None, *, attempts: int = ATTEMPTS
) -> Any:
    """Return the parameters of one member; draw until the drawn values suit the given ones.

    Raises:
        ParameterError: What the last attempt said when none suits.
    """
    for _ in range(attempts - 1 if parameters else 0):
        try:
            return kind.sample(rng, parameters)
        except ParameterError:
            continue
    return kind.sample(rng, parameters)


def find_family(name: str) -> Family:
    """Return a family by name.

    Raises:
        FamilyError: there is none of that name.
    """
    if name in FAMILIES:
        return FAMILIES[name]
    near = difflib.get_close_matches(name, FAMILIES, n=1, cutoff=0.0)[0]
    raise FamilyError(f"{name!r} is no family. Did you mean {near!r}? Families: {', '.join(FAMILIES)}")
