"""Drawing by the learned generator: what it cannot do is said, rejected or drawn procedurally, never hidden."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from generators.blueprint import Blueprint
from generators.ssa.checkpoint import save_model
from generators.ssa.model import LearnedModel
from generators.ssa.presets import PRESETS
from scenegen.assets.draw import DrawConfig, GeneratorConfig, draw_config, draw_object
from scenegen.config import read_config
from scenegen.errors import ConfigError
from scenegen.pipeline.stage import Rejection

RUN = "name: a\nobjects: [{family: %s, count: 1%s}]\ngenerator: {kind: %s, checkpoint: '%s', steps: 1}\n"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """An untrained model that knows mugs."""
    torch.manual_seed(0)
    boxes, materials = {"mug": np.array([[0.1, 0.08, 0.1]])}, {"mug": ("stoneware",)}
    model = LearnedModel.new(PRESETS["nano"], ("mug",), boxes=boxes, materials=materials)
    return save_model(model, tmp_path_factory.mktemp("model")).parent


def draw(config: GeneratorConfig, family: str, item: int = 0):
    return draw_object(config, family=family, seed=1, item_id=f"object_{item}", parameters={})


def test_a_sample_that_bounds_no_solid_is_a_rejection_with_its_reason(checkpoint: Path) -> None:
    drawn = draw(GeneratorConfig(kind="ssa", checkpoint=str(checkpoint), steps=1), "mug")
    assert isinstance(drawn, Rejection)
    assert (drawn.stage, drawn.reason) == ("generate", "the sample bounds no solid")
    assert drawn.message.startswith("mug: the sample of seed ")


def test_a_family_that_the_checkpoint_does_not_know_is_drawn_procedurally_and_labelled(checkpoint: Path) -> None:
    config = GeneratorConfig(kind="ssa", checkpoint=str(checkpoint), resolution=48)
    drawn = draw(config, "hex_nut")
    assert not isinstance(drawn, Rejection)
    blueprint, notes = drawn
    assert blueprint.generator == "procedural"
    assert notes == ("hex_nut: not known to the learned generator, drawn procedurally",)
    plain = draw(GeneratorConfig(resolution=48), "hex_nut")
    assert isinstance(plain, tuple) and plain[1] == () and plain[0].parameters == blueprint.parameters


def test_a_mixed_run_draws_its_share_and_each_item_always_the_same_way(checkpoint: Path) -> None:
    config = GeneratorConfig(kind="mixed", checkpoint=str(checkpoint), steps=1, learned_share=0.5)
    kinds = [isinstance(draw(config, "mug", item), Rejection) for item in range(12)]
    assert 2 <= sum(kinds) <= 10
    assert kinds[:3] == [isinstance(draw(config, "mug", item), Rejection) for item in range(3)]
    none = dataclasses.replace(config, learned_share=0.0)
    drawn = draw(none, "mug")
    assert isinstance(drawn, tuple) and isinstance(drawn[0], Blueprint) and drawn[1] == ()


def test_the_weights_are_part_of_what_decides_a_draw(checkpoint: Path, tmp_path: Path) -> None:
    config = GeneratorConfig(kind="ssa", checkpoint=str(checkpoint))
    first = draw_config(config)
    assert len(first.weights) == 64 and Path(first.generator.checkpoint).is_absolute()
    torch.manual_seed(1)
    other = save_model(LearnedModel.new(PRESETS["nano"], ("mug",)), tmp_path).parent
    assert draw_config(dataclasses.replace(config, checkpoint=str(other))).weights != first.weights
    plain = draw_config(GeneratorConfig(checkpoint="nowhere", steps=3))
    assert plain == DrawConfig(GeneratorConfig())  # settings of the other generator do not count


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RUN % ("mug", "", "ssa", "no/such/folder"), "generator.checkpoint: no checkpoint at "),
        (RUN % ("mug", ", parameters: {extent_x: -1}", "ssa", "{}"), "extent_x is -1.0 m, expected a positive length"),
        (RUN % ("mug", ", parameters: {wall: 0.004}", "ssa", "{}"), "'wall' is no parameter of the learned generator"),
        (RUN % ("mug", ", parameters: {wall: 0.004}", "mixed", "{}"), "no parameter means the same to both generators"),
        ("name: a\nobjects: [{family: mug, count: 1}]\ngenerator: {kind: sssa}\n", "generator.kind"),
    ],
)
def test_what_the_learned_generator_cannot_take_is_refused_before_the_run(checkpoint: Path, text, message) -> None:
    with pytest.raises(ConfigError) as refused:
        read_config(text.replace("'{}'", f"'{checkpoint}'"))
    assert message in str(refused.value)


def test_sides_of_the_box_are_taken(checkpoint: Path) -> None:
    text = RUN % ("mug", ", parameters: {extent_x: 0.2}", "ssa", checkpoint)
    assert read_config(text).objects[0].parameters == {"extent_x": 0.2}


def test_a_damaged_checkpoint_is_one_error_of_the_run(checkpoint: Path, tmp_path: Path) -> None:
    for file in checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (weights,) = tmp_path.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ConfigError, match="truncated"):
        read_config(RUN % ("mug", "", "ssa", tmp_path))
