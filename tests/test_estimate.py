"""What a run will take: said before it starts, and refused where it does not fit."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from typer.testing import CliRunner

from scenegen import cli
from scenegen.config import read_config
from scenegen.errors import ConfigError
from scenegen.estimate import check_budget, estimate_run

TEXT = "name: shop\nobjects: [{families: all, count: 96}]\nexecutor: {workers: 2}\n"
SCENE = "scenes: [{name: hall, layout: warehouse, objects: 1000}]\n"


def test_an_estimate_grows_with_what_is_asked():
    one, twice = (estimate_run(read_config(TEXT.replace("96", count))) for count in ("96", "192"))
    assert (one.draws, twice.draws) == (100, 200)
    assert twice.cpu_seconds == pytest.approx(2 * one.cpu_seconds)
    assert one.seconds == one.cpu_seconds / 2
    assert twice.disk_bytes == pytest.approx(2 * one.disk_bytes)
    hall = estimate_run(read_config(TEXT + SCENE.replace("1000", "10000")))
    assert hall.placed == 10_000 and hall.cpu_seconds > one.cpu_seconds and hall.memory_bytes > one.memory_bytes
    poured = estimate_run(read_config(TEXT + SCENE.replace("warehouse", "tote_grid")))
    assert poured.cpu_seconds > estimate_run(read_config(TEXT + SCENE)).cpu_seconds
    learned = estimate_run(read_config(TEXT + "generator: {kind: mixed}\n"))
    assert learned.draws > one.draws


@pytest.mark.parametrize("what", ["memory", "disk"])
def test_a_budget_that_is_too_small_is_refused(what, tmp_path):
    config = read_config(TEXT.replace("workers: 2", f"workers: 2, {what}_gib: 0.2"))
    with pytest.raises(ConfigError, match=rf"GiB of {what}, and executor\.{what}_gib is 0\.2; raise it"):
        check_budget(estimate_run(config), config, tmp_path)


def test_a_machine_that_is_too_small_is_refused(tmp_path, monkeypatch):
    config = read_config(TEXT)
    check_budget(estimate_run(config), config, tmp_path / "not" / "there")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2**20, total=2**30))
        with pytest.raises(ConfigError, match=r"GiB of disk, and 0\.0 GiB are free"):
            check_budget(estimate_run(config), config, tmp_path)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2**29))
    with pytest.raises(ConfigError, match=r"GiB of memory, and 0\.5 GiB are free"):
        check_budget(estimate_run(config), config, tmp_path)
    cluster = read_config(TEXT.replace("workers: 2", "workers: 2, address: auto"))
    check_budget(estimate_run(cluster), cluster, tmp_path)


def test_a_dry_run_writes_nothing(tmp_path: Path):
    path = tmp_path / "shop.yaml"
    path.write_text(TEXT + SCENE)
    result = CliRunner().invoke(cli.app, ["run", str(path), "--out", str(tmp_path / "out"), "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "expected: 100 draws, 1000 objects in scenes: about 15 min with 2 workers" in result.output
    assert not (tmp_path / "out").exists()
    result = CliRunner().invoke(
        cli.app, ["run", str(path), "--out", str(tmp_path / "out"), "--dry-run", "--set", "executor.disk_gib=0.1"]
    )
    assert result.exit_code == 2 and "executor.disk_gib is 0.1" in result.output
