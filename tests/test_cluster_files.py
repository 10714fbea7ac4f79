"""The files for clusters: versions as pinned, a head without work, commands and keys that exist."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path

import jsonschema
import pytest
import ray.autoscaler
import typer
import yaml

from scenegen import cli
from scenegen.config import STAGES, RunConfig, load_config, read_config

ROOT = Path(__file__).resolve().parents[1]
FILES = ROOT / "configs" / "cluster"
PAGE = (ROOT / "docs" / "cluster.md").read_text()
RAYJOB = yaml.safe_load((FILES / "rayjob.yaml").read_text())
RAY_UP = yaml.safe_load((FILES / "ray_up.yaml").read_text())
DOCKERFILE = (FILES / "Dockerfile").read_text()
IMAGE_ROOT = "/opt/scenegen/"


def pinned(name: str) -> str:
    (version,) = re.findall(rf"^{name}==(\S+)$", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    return version


def parse_run(command: str) -> RunConfig:
    """Return the configuration that a `scenegen run` command loads; nothing is run."""
    words = shlex.split(command)
    assert words[:2] == ["scenegen", "run"]
    run = typer.main.get_command(cli.app).commands["run"]  # type: ignore[attr-defined]
    options = run.make_context("run", words[2:]).params
    assert options["address"] == "auto" and str(options["out"]).startswith("/shared/")
    inside = str(options["config"])
    assert inside.startswith(IMAGE_ROOT), "a file of the image"
    changes = [*options["overrides"], "executor.address=auto", f"executor.workers={options['workers']}"]
    return load_config(ROOT / inside.removeprefix(IMAGE_ROOT), changes)


def pods() -> dict[str, dict]:
    spec = RAYJOB["spec"]["rayClusterSpec"]
    groups = {"head": spec["headGroupSpec"]} | {group["groupName"]: group for group in spec["workerGroupSpecs"]}
    return {name: group["template"]["spec"] for name, group in groups.items()}


def test_the_image_has_the_python_of_pybullet_and_all_that_a_cluster_needs():
    assert re.search(r"^FROM python:3\.11-", DOCKERFILE, re.MULTILINE)
    assert "--constraint requirements.lock" in DOCKERFILE and "COPY configs configs" in DOCKERFILE
    assert f"WORKDIR {IMAGE_ROOT.rstrip('/')}" in DOCKERFILE
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extras,) = re.findall(r"^ARG EXTRAS=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert "cluster" in extras.split(",") and set(extras.split(",")) <= set(project["optional-dependencies"])
    assert any(need.startswith("ray[default,client]") for need in project["optional-dependencies"]["cluster"])
    # What the dashboard, jobs and ray:// need beside Ray is pinned, too.
    assert all(pinned(name) for name in ("aiohttp", "grpcio", "opencensus", "prometheus_client"))
    copied = {word for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]}
    assert all((ROOT / name).exists() for name in copied) and {"physics", "generators", "scenegen"} <= copied


def test_the_rayjob_has_an_idle_head_and_two_groups_that_start_at_zero():
    assert (RAYJOB["apiVersion"], RAYJOB["kind"]) == ("ray.io/v1", "RayJob")
    cluster = RAYJOB["spec"]["rayClusterSpec"]
    assert cluster["rayVersion"] == pinned("ray")
    assert cluster["enableInTreeAutoscaling"] is True and cluster["autoscalerOptions"]["version"] == "v2"
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    groups = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    assert set(groups) == {"gpu", "cpu"}
    for group in groups.values():
        assert group["minReplicas"] == group["replicas"] == 0 < group["maxReplicas"]
    limits = {name: pod["containers"][0]["resources"]["limits"] for name, pod in pods().items()}
    assert limits["gpu"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in limits["cpu"] and "nvidia.com/gpu" not in limits["head"]


def test_all_pods_have_one_image_and_the_shared_folder():
    images, claims = set(), set()
    for pod in pods().values():
        (container,) = pod["containers"]
        images.add(container["image"])
        (mount,) = container["volumeMounts"]
        (volume,) = pod["volumes"]
        assert mount["mountPath"] == "/shared" and mount["name"] == volume["name"]
        claims.add(volume["persistentVolumeClaim"]["claimName"])
    assert len(images) == len(claims) == 1
    assert images == {RAY_UP["docker"]["image"]}


def test_the_entry_command_is_a_run_that_scenegen_takes():
    config = parse_run(RAYJOB["spec"]["entrypoint"])
    assert config.executor.address == "auto" and config.executor.machine_wait_s >= 600
    asked = config.executor.stages["generate"]
    assert asked.gpus == 1 and asked.cpus == 0.5
    assert (config.generator.kind, config.generator.device) == ("ssa", "cuda")  # or the GPUs would be there for nothing
    # The groups can hold what is asked for, as many calls at a time as are asked for.
    cluster = RAYJOB["spec"]["rayClusterSpec"]
    cores = sum(
        int(group["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"]) * group["maxReplicas"]
        for group in cluster["workerGroupSpecs"]
    )
    assert cores >= (config.executor.workers or 0)


def test_a_wrong_flag_or_key_in_the_entry_command_would_be_found():
    with pytest.raises(Exception, match="No such option"):
        parse_run("scenegen run /opt/scenegen/configs/demo.yaml --out /shared/x --adress auto")
    with pytest.raises(Exception, match="is not a stage"):
        parse_run(RAYJOB["spec"]["entrypoint"].replace("stages.generate.gpus", "stages.generator.gpus"))


def test_ray_up_follows_the_schema_of_ray_and_its_head_has_no_work():
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(RAY_UP, schema)
    types = RAY_UP["available_node_types"]
    assert set(types) == {"head", "gpu", "cpu"} and RAY_UP["head_node_type"] == "head"
    assert types["head"]["resources"] == {"CPU": 0} and types["head"]["max_workers"] == 0
    assert types["gpu"]["resources"]["GPU"] == 1 and "GPU" not in types["cpu"]["resources"]
    assert all(types[name]["min_workers"] == 0 < types[name]["max_workers"] for name in ("gpu", "cpu"))
    assert RAY_UP["max_workers"] >= types["gpu"]["max_workers"] + types["cpu"]["max_workers"]
    assert any("--num-cpus=0" in command for command in RAY_UP["head_start_ray_commands"])
    assert any(":/shared" in option for option in RAY_UP["docker"]["run_options"])
    assert any("lookupcache=pos" in command for command in RAY_UP["initialization_commands"])


def test_the_commands_of_the_page_are_runs_that_scenegen_takes():
    commands = re.findall(r'"(scenegen run [^"]+)"', PAGE)
    assert len(commands) >= 1
    for command in commands:
        parse_run(command)


def test_the_keys_of_the_page_exist():
    blocks = "".join(re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
    blocks = blocks.replace("executor:\n", "executor:\n  address: auto\n")  # a GPU here is not needed then
    config = read_config("name: page\nobjects: [{family: mug, count: 1}]\n" + blocks)
    assert (config.generator.device, config.generator.batch) == ("cuda", 16)
    assert config.executor.stages["drop_pybullet"].custom == {"sim": 1.0}
    assert all(f"`{stage}`" in PAGE for stage in STAGES)
    assert all(re.search(rf"\b{name}\b", PAGE) for name in ("lookupcache=pos", "machine_wait_s", "quarantined"))


def test_what_the_page_points_to_is_there():
    for path in re.findall(r"configs/cluster/\w+(?:\.yaml)?|tests/\w+\.py|benchmarks/\w+\.py", PAGE):
        assert (ROOT / path).is_file(), path
