"""Evaluation of a checkpoint: what is counted is what is there, nothing is chosen, and wrong input is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from generators.blueprint import Blueprint, BodyBlueprint, PartBlueprint
from generators.errors import ParameterError
from generators.procedural import ProceduralGenerator
from generators.process_map import ProcessMap
from generators.ssa.checkpoint import save_model
from generators.ssa.dataset import DatasetConfig, make_dataset
from generators.ssa.flow import SamplerConfig
from generators.ssa.generator import BUNDLED_CHECKPOINTS, LearnedConfig
from generators.ssa.model import LearnedModel
from generators.ssa.presets import PRESETS
from generators.ssa.reconstruction import object_volume, volume_iou
from generators.ssa.shards import load_dataset
from generators.surface import extract_surface
from scenegen import cli
from scenegen.errors import ConfigError
from scenegen.evaluation.likeness import measure_likeness, real_clouds
from scenegen.evaluation.raw import raw_figures
from scenegen.evaluation.real import first_objects, held_out_boxes, nearest_objects, real_objects
from scenegen.evaluation.samples import Sample, draw_samples


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    config = DatasetConfig(
        families=("hex_nut", "mug"), per_family=8, test_share=0.25, held_out_share=0.25, least_wall_voxels=1.5
    )
    make_dataset(config, folder)
    return folder


def drawn(family: str, *, genus: tuple[int, ...] | None, specks: int = 0) -> Sample:
    """A member of a family as if it had been sampled."""
    made = ProceduralGenerator().generate(family, rng=np.random.default_rng(0), resolution=64)
    part = made.bodies[0].parts[0]
    counted = {"field_pieces": 1.0 + (specks > 0), "field_specks": float(specks), "field_pores": float(specks > 0)}
    parts = (PartBlueprint(family, part.volume, part.material, genus=genus),)
    mesh = extract_surface(part.volume)
    blueprint = Blueprint(family, (BodyBlueprint(family, parts),), parameters=counted)
    return Sample(family, 2 * mesh.extents, blueprint, mesh, "", 1.0)


def test_raw_figures_count_what_is_there() -> None:
    lost = Sample("mug", np.ones(3), None, None, "mug: the sample of seed 1 bounds no solid: it is empty", 3.0)
    samples = [
        drawn("hex_nut", genus=(1,)),
        drawn("hex_nut", genus=(0, 2)),  # a nut has one hole
        drawn("hex_nut", genus=None, specks=2),
        lost,
    ]
    found = raw_figures(samples)
    assert (found.samples, found.solids, found.closed, found.one_part, found.filled) == (4, 3, 3, 2, 1)
    assert (found.handles, found.known) == (1, 2) and found.failed == {"G8": 1}
    assert found.refused == {"it is empty": 1}
    assert found.box_error == pytest.approx(0.5) and found.seconds == 1.0
    assert np.isnan(raw_figures([lost]).box_error)


def test_boxes_are_held_out_and_families_take_turns(data: Path) -> None:
    held_out = real_objects(data, "unseen")
    asked = held_out_boxes(data, ("mug", "hex_nut"), 6)
    assert [family for family, _ in asked] == 3 * ["mug", "hex_nut"]
    assert all(np.abs(held_out.shard.extents - box).max(axis=1).min() < 1e-9 for _, box in asked)
    with pytest.raises(ConfigError, match="no bowl to compare with"):
        held_out_boxes(data, ("bowl",), 6)


def test_training_objects_are_no_news_and_are_found_by_their_box(data: Path) -> None:
    families = ("mug", "hex_nut")
    known = first_objects(data, "seen", families, 4, 4)
    train = real_objects(data, "seen")
    asked = [
        (f, np.asarray(train.shard.extents[real.row], dtype=float))
        for f, real in zip(families, (known[0], known[4]), strict=True)
    ]
    assert nearest_objects(data, asked, 4) == [known[0], known[4]]
    others, trained = real_clouds(first_objects(data, "unseen", families, 2, 4), map), real_clouds(known, map)
    copied = measure_likeness(trained, others, trained, apply=map).novelty
    assert copied is not None and copied.ratio == 0 and copied.copies == 1
    assert measure_likeness(others, others, None, apply=map).against.mmd.value == pytest.approx(0)


def test_iou_of_a_volume_with_itself_is_one(data: Path) -> None:
    train = load_dataset(data, "train")
    volume, other = (object_volume(train, row, 4) for row in (0, 1))
    assert volume is not None and other is not None
    assert volume_iou(volume, volume, side=64) == 1 and 0 <= volume_iou(volume, other, side=64) < 1


def test_an_untrained_checkpoint_is_measured_and_not_flattered(data: Path, tmp_path: Path) -> None:
    train = load_dataset(data, "train")
    torch.manual_seed(0)
    model = LearnedModel.new(PRESETS["nano"], train.families, boxes=train.boxes, materials=train.materials)
    checkpoint = save_model(model, tmp_path / "model")
    asked = ["evaluate", checkpoint, "--data", data, "--samples", 8, "--certify", 4, "--steps", 1, "--workers", 2]
    asked += ["--baseline", f"twin={checkpoint}", "--out", tmp_path / "out"]
    ended = CliRunner().invoke(cli.app, [str(one) for one in asked])
    assert ended.exit_code == cli.DONE, ended.output
    record = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert record["raw"]["learned"]["solids"] == 0 and record["raw"]["learned"]["samples"] == 8
    assert sum(record["raw"]["learned"]["refused"].values()) == 8
    assert {**record["raw"]["twin"], "seconds": 0} == {**record["raw"]["learned"], "seconds": 0}
    assert record["certified"]["samples"] == 4 and sum(record["certified"]["reasons"].values()) == 4
    assert record["reconstruction"][0] < 0.5
    assert set(record["likeness"]) == {"training objects", "retrieval"}  # nothing to compare of the others
    assert (tmp_path / "out" / "samples.png").stat().st_size > 1000


def test_samples_are_the_same_from_any_number_of_processes(data: Path) -> None:
    asked = held_out_boxes(data, ("mug", "hex_nut"), 3)
    config, file = LearnedConfig(sampler=SamplerConfig(steps=4)), BUNDLED_CHECKPOINTS["nano"]
    made = {}
    for workers in (1, 2):
        with ProcessMap(workers) as apply:
            made[workers] = list(draw_samples(file, asked, seed=1, config=config, apply=apply))
    for one, other in zip(made[1], made[2], strict=True):
        assert one.mesh is not None and other.mesh is not None and one.mesh.digest == other.mesh.digest
    with pytest.raises(ParameterError, match="at least 1 is needed"):
        ProcessMap(0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no/such", "--samples", "8"), "no checkpoint"),
        (("{}", "--samples", "4"), "4 samples tell nothing"),
        (("{}", "--certify", "100"), "100 samples to certify, but 64 are drawn"),
        (("{}", "--certify", "0", "--baseline", "window"), "expected NAME=DIR"),
        (("{}", "--certify", "0", "--baseline", "learned=a"), "cannot be called 'learned'"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(data: Path, tmp_path: Path, arguments, message: str) -> None:
    model = LearnedModel.new(PRESETS["nano"], ("mug", "hex_nut"))
    checkpoint = save_model(model, tmp_path / "model")
    filled = [one.format(checkpoint) for one in arguments]
    ended = CliRunner().invoke(cli.app, ["evaluate", *filled, "--data", str(data), "--out", str(tmp_path / "out")])
    assert ended.exit_code == cli.USER_ERROR and message in " ".join(ended.output.split())
