"""Drawing by the learned generator: what it cannot do is said, rejected or drawn procedurally, never hidden."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from generators.blueprint import Blueprint
from generators.errors import BackendError
from generators.ssa.checkpoint import save_model
from generators.ssa.generator import sample_together
from generators.ssa.model import LearnedModel
from generators.ssa.presets import PRESETS
from scenegen.assets import draw as drawing
from scenegen.assets.draw import DrawConfig, GeneratorConfig, Mate, draw_config, draw_object
from scenegen.config import read_config
from scenegen.errors import ConfigError, ExecutorError
from scenegen.pipeline.observer import SilentObserver
from scenegen.pipeline.run_serial import run_serial
from scenegen.pipeline.stage import Item, Rejected, Rejection, Stage
from scenegen.pipeline.store import Store
from scenegen.run import asset_stages, next_draw, object_items

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


BATCH = tuple(Mate(f"object_{number}", family) for number, family in enumerate(("mug", "chair", "hex_nut")))
"""The nano checkpoint knows no chair."""


def drawn_together(order: Sequence[int]) -> dict[str, Blueprint]:
    """Draw the objects of the batch in an order, by a process that has drawn nothing yet."""
    drawing._sampled.cache_clear()
    config = GeneratorConfig(kind="ssa", checkpoint="bundled-nano", steps=8, resolution=96, batch=3)
    made = {}
    for mate in (BATCH[number] for number in order):
        drawn = draw_object(
            config, family=mate.family, seed=5, item_id=mate.item_id, parameters=mate.parameters, batch=BATCH
        )
        assert isinstance(drawn, tuple)
        made[mate.item_id], notes = drawn
        assert notes == (
            ("chair: not known to the learned generator, drawn procedurally",)
            if mate.family == "chair"
            else ("sampled on cpu in a batch of 2",)
        )
    return made


def test_the_objects_of_a_batch_are_the_same_whichever_is_asked_for_first(monkeypatch) -> None:
    passes = []
    once = sample_together

    def counted(*arguments, **options):
        passes.append(arguments)
        return once(*arguments, **options)

    monkeypatch.setattr("generators.ssa.generator.sample_together", counted)
    forward, backward = drawn_together((0, 1, 2)), drawn_together((2, 0, 1))
    assert len(passes) == 2  # one for each process: the second object is not sampled again
    for item_id, blueprint in forward.items():
        other = backward[item_id]
        assert blueprint.parameters == other.parameters
        mine, theirs = (one.bodies[0].parts[0].volume for one in (blueprint, other))
        assert mine.values.tobytes() == theirs.values.tobytes() and mine.coords.tobytes() == theirs.coords.tobytes()


def test_an_object_of_a_batch_is_that_which_is_drawn_alone_but_for_its_last_bits() -> None:
    together = drawn_together((0,))["object_0"]
    config = GeneratorConfig(kind="ssa", checkpoint="bundled-nano", steps=8)
    alone = draw_object(config, family="mug", seed=5, item_id="object_0", parameters={})
    assert isinstance(alone, tuple) and alone[1] == ()
    mine, theirs = (one.bodies[0].parts[0].volume for one in (together, alone[0]))
    assert mine.origin == pytest.approx(theirs.origin, abs=mine.voxel_size / 2)
    nodes, others = ({tuple(node) for node in volume.coords.tolist()} for volume in (mine, theirs))
    assert len(nodes ^ others) < 0.02 * len(nodes)


def test_batches_are_cut_by_the_place_in_the_request_and_kept_for_every_further_draw() -> None:
    text = (
        "name: a\nobjects: [{families: [mug, chair], count: 3}, {family: hex_nut, count: 2}]\n"
        "generator: {kind: %s, checkpoint: bundled-nano, batch: 2}\n"
    )
    requests = [item.record for item in object_items(read_config(text % "ssa"))]
    names = [[mate.item_id for mate in request.batch] for request in requests]
    assert names == 2 * [["object_00000", "object_00001"]] + 2 * [["object_00002", "object_00003"]] + [["object_00004"]]
    assert [mate.family for mate in requests[3].batch] == ["mug", "hex_nut"]
    assert [request.family for request in requests] == ["mug", "chair", "mug", "hex_nut", "hex_nut"]

    item = Item("object_00003", requests[3])
    for number in (1, 2):
        rejection = Rejection("surface", "for a test", 0.0, None, "")
        again = next_draw(read_config(text % "ssa"), Rejected(item, rejection, ()))
        assert again is not None and again.id == again.record.item_id == f"object_00003_draw_{number}"
        assert [m.item_id for m in again.record.batch] == [f"object_0000{k}_draw_{number}" for k in (2, 3)]
        item = again
    assert all(not item.record.batch for item in object_items(read_config(text % "procedural")))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_is_refused_before_the_run_where_there_is_none() -> None:
    text = "name: a\nobjects: [{family: mug, count: 1}]\n"
    text += "generator: {kind: ssa, checkpoint: bundled-nano, device: cuda}\n"
    with pytest.raises(ConfigError, match=r"generator.device: .*sees no CUDA device here; use cpu, or join a cluster"):
        read_config(text)
    cluster = text + "executor: {address: 'head:6379'%s}\n"
    with pytest.raises(ConfigError, match=r"executor.stages.generate.gpus is 0"):
        read_config(cluster % ", stages: {generate: {gpus: 0}}")
    for limits, gpus in (("", 1.0), (", stages: {generate: {gpus: 0.25}}", 0.25)):
        first, *others = asset_stages(read_config(cluster % limits), (), Path("out"))
        assert first.resources.gpus == gpus and not any(stage.resources.gpus for stage in others)


def test_a_batch_that_does_not_fit_is_refused_with_a_smaller_one(monkeypatch) -> None:
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("generators.ssa.generator.sample_fields", full)
    with pytest.raises(BackendError, match=r"no memory for a batch of 2 samples; set generator.batch=1"):
        drawn_together((0,))


def out_of_memory(record: Mate, config: None) -> Mate:
    """Stage: a batch that does not fit."""
    raise BackendError("cuda has no memory for a batch of 16 samples; set generator.batch=8")


def test_a_device_without_memory_ends_the_run_and_costs_no_object(tmp_path: Path) -> None:
    stage = Stage("draw", f"{__name__}:out_of_memory", Mate, Mate)
    with pytest.raises(ExecutorError, match=r"set generator.batch=8"):
        run_serial([stage], [Item("a", Mate("a", "mug"))], Store(tmp_path), observer=SilentObserver())


def test_a_batch_has_time_for_all_its_objects() -> None:
    text = "name: a\nobjects: [{family: mug, count: 1}]\ngenerator: {kind: ssa, checkpoint: bundled-nano, batch: %d}\n"
    alone, four = (asset_stages(read_config(text % batch), (), Path("out"))[0].deadline_s for batch in (1, 4))
    assert four == alone + 3 * 60
