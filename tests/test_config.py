"""The strict loader: every message that a user may see, once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from generators.ssa.presets import PRESETS
from scenegen.config import STAGES, RunConfig, StageLimits, configure_stages, load_config, read_config
from scenegen.errors import ConfigError
from scenegen.learn import load_dataset_config, load_train_config
from scenegen.pipeline.codec import record_digest
from scenegen.pipeline.stage import Resources, Stage
from scenegen.provenance import code_digest, config_digest, git_commit, item_rng, library_versions
from scenegen.reports.summary import save_config

BASE = "name: demo\nobjects:\n  - {families: all, count: 3}\n"
SHIPPED = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
LEARNING = {"dataset": load_dataset_config, "train": load_train_config}
CONFIGS = [path for path in SHIPPED if path.stem.split("_")[0] not in LEARNING]


def refused(text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_config(text, source="run.yaml", overrides=overrides)
    return str(caught.value)


def test_defaults_and_values():
    config = read_config(BASE + "seed: 3\ndrop: {quiet_speed: 1e-3}\nexecutor: {stages: {hulls: {cpus: 2}}}\n")
    assert (config.seed, config.drop.quiet_speed, config.generator.resolution) == (3, 0.001, 128)
    assert config.executor.stages["hulls"].cpus == 2.0
    assert "mug" in config.objects[0].families and len(config.objects[0].families) >= 16


@pytest.mark.parametrize("path", [path for path in SHIPPED if path not in CONFIGS], ids=lambda path: path.name)
def test_every_configuration_of_the_learned_generator_loads(path):
    assert LEARNING[path.stem.split("_")[0]](path).preset in PRESETS


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_configuration_that_we_ship_loads(path):
    assert load_config(path).name


def test_the_saved_configuration_is_the_same_run(tmp_path):
    config = read_config(BASE + "scenes: [{name: t, layout: tabletop, objects: 4, options: {poured_share: 0.5}}]")
    saved = load_config(save_config(config, tmp_path))
    assert saved == config and config_digest(saved) == config_digest(config)
    assert config_digest(replace(config, seed=1)) != config_digest(config)


def test_overrides_go_through_the_same_loader():
    config = read_config(BASE, overrides=["generator.resolution=64", "objects.0.count=9", "objects.0.families=[mug]"])
    assert (config.generator.resolution, config.objects[0].count, config.objects[0].families) == (64, 9, ("mug",))
    assert "run.yaml (with --set generatr.resolution=64): generatr is not a field" in refused(
        BASE, "generatr.resolution=64"
    )
    assert (
        refused(BASE, "objects.4.count=1")
        == "--set objects.4.count=1: objects is a list of 1; expected a number, got '4'"
    )
    assert "expected key=value" in refused(BASE, "seed")
    assert "name is text and has no field 'x'" in refused(BASE, "name.x=1")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("seeed: 1", "run.yaml: seeed is not a field of RunConfig. Did you mean 'seed'? Fields: name, objects, seed"),
        ("drop: {quiet_sped: 1}", "drop.quiet_sped is not a field of DropConfig. Did you mean 'quiet_speed'?"),
        ("seed: 1.0", "seed is 1.0 (a number), expected a whole number"),
        ("seed: '1'", "seed is '1' (text), expected a whole number"),
        ("seed: true", "seed is True (a truth value), expected a whole number"),
        ("seed: -1", "seed is -1, expected a value >= 0"),
        ("generator: {resolution: 5}", "generator.resolution is 5, expected a value >= 32"),
        ("generator: {kind: procedurl}", "Did you mean 'procedural'?"),
        ("generator: 3", "generator is 3 (a whole number), expected a mapping"),
        ("drop: {quiet_speed: .nan}", "drop.quiet_speed is nan, expected a finite number"),
        ("drop: {quiet_speed: .inf}", "drop.quiet_speed is inf, expected a finite number"),
        ("drop: {quiet_speed: -1}", "drop.quiet_speed is -1.0, expected a value >= 0 (its default is 0.005)"),
        ("drop: {gravity: [0, 0]}", "drop.gravity.2 is missing"),
        ("hulls: {most_vertices: 4}", "hulls: most_vertices must be at least 8, got 4"),
        ("executor: {workers: 0}", "executor.workers is 0, expected a value >= 1"),
        ("executor: {stages: {hulls: {deadline: 3}}}", "Did you mean 'deadline_s'?"),
        ("scenes: [{name: a/b, layout: bin, objects: 1}]", "scenes.0.name is 'a/b', expected a name of letters"),
        ("scenes: [{name: a, layout: tabletp, objects: 1}]", "scenes.0.layout is 'tabletp'"),
        ("scenes: [{name: a, objects: 1}]", "scenes.0.layout is missing"),
        ("scenes: [{name: a, layout: bin, objects: 1, options: {larges: 1}}]", "larges is not a field of BinConfig"),
        (
            "scenes: [{name: a, layout: bin, objects: 1}, {name: a, layout: bin, objects: 1}]",
            "two scenes are named 'a'",
        ),
        ("objects: []", "line 4: key 'objects' is given twice; keep one"),
    ],
)
def test_refusals(extra, message):
    assert message in refused(BASE + extra)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "run.yaml: expected a mapping of keys to values, got a list"),
        ("", "expected a mapping of keys to values, got nothing"),
        ("name: [a", "run.yaml is not valid YAML"),
        ("a: !!python/object/apply:os.system ['true']", "objects are never constructed"),
        ("a: !Thing {}", "Only plain values are read"),
        ("1: 2", "key 1 is a whole number, expected text"),
        ("name: demo", "objects is missing; say what to draw, or use assets that are there: assets.import"),
        ("name: demo\nobjects: []", "objects has 0 entries; say what to draw"),
        ("name: ../x\nobjects: [{family: mug, count: 1}]", "name is '../x', expected a name of letters"),
        ("name: a\nobjects: [{count: 1}]", "objects.0 needs either 'family' (one name) or 'families'"),
        ("name: a\nobjects: [{family: mugg, count: 1}]", "'mugg' is not a family. Did you mean 'mug'? Families: mug"),
        ("name: a\nobjects: [{families: [], count: 1}]", "objects.0.families is empty. Families: mug"),
        ("name: a\nobjects: [{family: mug, count: 0}]", "objects.0.count is 0, expected a value >= 1"),
        ("name: a\nobjects: [{family: mug, count: 1, parameters: {wal: 1}}]", "'wal' is no parameter of Mug. Did"),
        ("name: a\nobjects: [{family: mug, count: 1, parameters: {wall: 1.0}}]", "wall is 1 m, possible here is"),
        ("name: a\nobjects: [{family: 3, count: 1}]", "objects.0.families.0 is 3 (a whole number), expected text"),
        ("name: 2024-01-01\nobjects: [{family: mug, count: no}]", "count is 'no' (text), expected a whole number"),
    ],
)  # fmt: skip
def test_refusals_of_whole_files(text, message):
    assert message in refused(text)


def test_all_mistakes_are_named_at_once():
    assert refused(BASE + "seeed: 1\ngenerator: {resolution: 1}").count("run.yaml: ") == 2


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*none\.yaml: No such file"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a text file in UTF-8"):
        load_config(tmp_path / "bytes.yaml")


def test_limits_of_stages():
    stages = (Stage("hulls", "a:b", int, int), Stage("drop", "a:b", int, int, memory_bytes=5))
    executor = replace(
        read_config(BASE).executor,
        stages={"hulls": StageLimits(cpus=2.0, custom={"sim": 1.0}, deadline_s=9.0, memory_mib=64)},
    )
    first, second = configure_stages(stages, executor)
    assert first.resources == Resources(cpus=2.0, custom=(("sim", 1.0),))
    assert (first.deadline_s, first.memory_bytes, second) == (9.0, 64 * 2**20, stages[1])
    # One run has several chains: limits of a stage of another chain are none of this one's business.
    assert configure_stages(stages[1:], executor) == stages[1:]
    message = refused(BASE + "executor: {stages: {hull: {cpus: 2}}}")
    assert "executor.stages.hull is not a stage. Did you mean 'hulls'? Stages: generate, surface, hulls" in message


def test_limits_may_be_set_for_the_stages_that_there_are(tmp_path):
    from scenegen.run import SCENE, asset_stages

    config = read_config(BASE)
    made = asset_stages(config, (), tmp_path)
    assert (*(stage.name for stage in made), SCENE) == STAGES


def test_random_streams_depend_on_seed_item_and_purpose_only():
    draws = [
        item_rng(*arguments).integers(2**62)
        for arguments in [(1, "a", "drop"), (2, "a", "drop"), (1, "b", "drop"), (1, "a", "generate"), (1, "a", "drop")]
    ]
    assert draws[0] == draws[4] and len(set(draws)) == 4
    assert draws[0] == 1506925655750878060  # a change here changes every object that was ever made


def test_provenance_names_code_and_versions():
    assert len(code_digest()) == 64
    assert library_versions()["mujoco"][0].isdigit()
    commit = git_commit()
    assert commit is None or len(commit.removesuffix("+changes")) == 40
    assert record_digest(read_config(BASE)) == config_digest(read_config(BASE))
    assert isinstance(read_config(BASE), RunConfig)
