"""The procedural generator: blueprints, equal seeds, overrides, and refusals with the number and the remedy."""

from __future__ import annotations

import numpy as np
import pytest

from generators.errors import FamilyError, ParameterError
from generators.generator import Generator
from generators.procedural import ProceduralGenerator


def make(family: str, resolution: int = 128, seed: int = 0, **parameters: float):
    maker: Generator = ProceduralGenerator()
    rng = np.random.default_rng(seed)
    return maker.generate(family, rng=rng, resolution=resolution, parameters=parameters)


def test_blueprint_of_a_hammer_has_two_parts_on_one_lattice() -> None:
    (body,) = make("hammer").bodies
    head, handle = body.parts
    assert (head.name, handle.name) == ("head", "handle")
    assert (head.genus, handle.genus) == (1, 0)
    assert head.volume.voxel_size == handle.volume.voxel_size
    assert head.volume.origin == handle.volume.origin
    assert head.material != handle.material


def test_resolution_is_voxels_along_the_longest_side() -> None:
    volume = make("mug", resolution=100, height=0.1).bodies[0].parts[0].volume
    inside = volume.points[volume.values < 0]
    assert abs(np.ptp(inside, axis=0).max() / volume.voxel_size - 100) < 3


def test_equal_seeds_give_equal_blueprints() -> None:
    first, again = make("bowl", seed=4), make("bowl", seed=4)
    assert first.parameters == again.parameters
    assert first.bodies[0].parts[0].material == again.bodies[0].parts[0].material
    assert np.array_equal(first.bodies[0].parts[0].volume.values, again.bodies[0].parts[0].volume.values)


def test_given_parameters_are_kept() -> None:
    for seed in range(5):
        assert make("mug", seed=seed, wall=0.003).parameters["wall"] == 0.003
    assert make("gear", teeth=17).parameters["teeth"] == 17


def test_symmetry_axis_reaches_the_body() -> None:
    assert make("plate").bodies[0].symmetry_axis == (0.0, 0.0, 1.0)
    assert make("mug").bodies[0].symmetry_axis is None


def test_unknown_family_names_the_nearest_and_all() -> None:
    with pytest.raises(FamilyError, match=r"'mugg' is no family. Did you mean 'mug'\? Families: mug, bowl, plate"):
        make("mugg")


def test_unknown_parameter_names_the_nearest_and_all() -> None:
    with pytest.raises(ParameterError, match=r"'wal' is no parameter of Mug. Did you mean 'wall'\? Parameters: height"):
        make("mug", wal=0.003)


def test_impossible_wall_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"Mug: wall is 0.5 m, possible here is .*\.\.0.0075 m"):
        make("mug", wall=0.5)
    with pytest.raises(ParameterError, match=r"Mug: wall is 0.0001 m"):
        make("mug", wall=0.0001)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "thick", True])
def test_what_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ParameterError, match="expected a finite number"):
        make("mug", wall=value)


def test_count_must_be_whole() -> None:
    with pytest.raises(ParameterError, match=r"teeth is 12.5, expected a whole number"):
        make("gear", teeth=12.5)


def test_wall_below_two_voxels_is_refused_with_the_remedy() -> None:
    pattern = (
        r"plate: the thinnest wall or gap of 'plate' is .* mm, at least 2 voxels of .* mm = .* mm are needed. Raise"
    )
    with pytest.raises(ParameterError, match=pattern) as refusal:
        make("plate", resolution=32)
    needed = int(str(refusal.value).split(" to ")[1].split(",")[0])
    make("plate", resolution=needed)


def test_resolution_must_be_sensible() -> None:
    with pytest.raises(ParameterError, match="resolution is 0 voxels, at least 16 are needed"):
        make("mug", resolution=0)
