"""The command line of scenegen. Heavy imports wait until a command needs them."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scenegen import __version__
from scenegen.errors import ScenegenError

if TYPE_CHECKING:
    from scenegen.config import RunConfig
    from scenegen.pipeline.observer import Observer
    from scenegen.run import Execute, RunResult

DONE, NOT_CERTIFIED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: done; done, but something required was not certified; the user's error; interrupted (resumable)."""
LONG_RUN = 600.0
"""Runs that are expected to take longer say so before they start [s]."""

app = typer.Typer(
    name="scenegen",
    help="Simulation-ready objects and scenes at scale, with proof.",
    epilog="Example: scenegen run configs/demo.yaml --out out/demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class ExecutorKind(StrEnum):
    """Where the stages run."""

    RAY = "ray"
    SERIAL = "serial"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"scenegen {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: scenegen run configs/demo.yaml --out out/demo --set generator.resolution=64 --workers 2")
def run(
    config: Annotated[Path, typer.Argument(help="YAML file that describes the run.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Output folder. The same command again resumes there.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as seed=3; repeatable.")
    ] = None,
    executor: Annotated[ExecutorKind | None, typer.Option(help="Where stages run; the file says it otherwise.")] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster to join: auto, host:port, ray://host:port.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Stage calls at a time; default one for each core.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the run will take, and whether it fits; then stop.")
    ] = False,
) -> None:
    """Make certified objects and verified scenes from a configuration.

    Writes assets, scenes, pictures, manifests and summary.json into the output folder. Exit code 0: everything
    asked for is certified; 1: something is not; 2: a mistake in the command or the file; 130: interrupted, and
    resumable by the same command.
    """
    changes = list(overrides or ())
    changes += [f"executor.kind={executor}"] if executor else []
    changes += [f"executor.address={address}"] if address else []
    changes += [f"executor.workers={workers}"] if workers else []
    raise typer.Exit(_guarded(lambda: _run(config, changes, out, dry_run)))


def _run(path: Path, overrides: list[str], out: Path, dry_run: bool) -> int:
    begun = time.monotonic()
    from rich.console import Console

    from scenegen.config import load_config

    config = load_config(path, overrides)
    from scenegen.estimate import check_budget, estimate_run

    estimate = estimate_run(config)
    if dry_run or estimate.seconds > LONG_RUN:
        typer.echo(f"expected: {estimate.describe()}", err=True)
    check_budget(estimate, config, out)
    if dry_run:
        return DONE
    from scenegen.reports.progress import RunProgress
    from scenegen.reports.summary import print_summary, save_config, summarize, write_summary

    saved = save_config(config, out)
    with RunProgress(Console(stderr=True)) as progress:
        result = _execute(config, out, progress)
    summary = summarize(
        config,
        result.outcomes,
        result.scenes,
        verdicts=result.verdicts,
        placed=result.placed,
        seconds=time.monotonic() - begun,
    )
    written = [*result.written, saved, write_summary(summary, out)]
    print_summary(summary, Console(), written=written)
    return DONE if summary.complete else NOT_CERTIFIED


def _execute(config: RunConfig, out: Path, observer: Observer) -> RunResult:
    """Run on the executor that the configuration names, with one Ray for all chains of the run."""
    how = config.executor
    with _executor(ExecutorKind(how.kind), how.address, how.workers, how.machine_wait_s) as execute:
        from scenegen.run import run as run_config

        return run_config(config, out, execute, observer)


@contextlib.contextmanager
def _executor(
    kind: ExecutorKind, address: str | None, workers: int | None, machine_wait_s: float = 0.0
) -> Iterator[Execute]:
    """Hold an executor, and the Ray that it needs."""
    if kind == ExecutorKind.SERIAL:
        from scenegen.pipeline.run_serial import run_serial

        yield run_serial
        return
    from scenegen.pipeline.ray_session import ray_session
    from scenegen.pipeline.run_ray import run_ray

    how: dict[str, Any] = {"address": address, "workers": workers, "machine_wait_s": machine_wait_s}
    with ray_session(**how):
        yield functools.partial(run_ray, **how)


@app.command(epilog="Example: scenegen verify model.urdf scans/ --units mm --material beech --out out/verified")
def verify(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Meshes (OBJ, STL, PLY, OFF, GLB), URDF, MJCF, folders.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", help="Output folder. The same command again resumes there.")],
    material: Annotated[str, typer.Option(help="Material: friction, and density of meshes.")],
    units: Annotated[str | None, typer.Option(help="Unit of mesh files: m, cm, mm or in.")] = None,
    up: Annotated[str, typer.Option(help="Up axis of mesh files: z or y.")] = "z",
    density: Annotated[float | None, typer.Option(help="Density of meshes [kg/m^3]; else the material's.")] = None,
    derive_inertia: Annotated[
        bool, typer.Option("--derive-inertia", help="Judge models with the inertia of their solid; marked as altered.")
    ] = False,
    solidify: Annotated[
        bool, typer.Option("--solidify", help="Judge the solid that an open mesh winds round; marked as altered.")
    ] = False,
    pose_drops: Annotated[int, typer.Option(help="Drops for the distribution of rest poses (D13); 385 for 5 %.")] = 0,
    resolution: Annotated[int, typer.Option(help="Voxels along the longest side for --solidify, 16 to 512.")] = 96,
    library: Annotated[
        Path | None, typer.Option("--import", metavar="DIR", help="Keep what is PASS or WARN there, as assets of ours.")
    ] = None,
    executor: Annotated[ExecutorKind, typer.Option(help="Where the checks run.")] = ExecutorKind.RAY,
    workers: Annotated[int | None, typer.Option(min=1, help="Files at a time; default one for each core.")] = None,
) -> None:
    """Judge assets from anywhere as they are: geometry, mass, hulls, and drops in two engines that must agree.

    Writes verdicts as JSON, parquet, Markdown and JUnit XML. Exit code 0: every file is PASS or WARN; 1: some is not.
    """
    options = {"units": units, "up": up, "material": material, "density": density}
    options |= {"derive_inertia": derive_inertia, "solidify": solidify, "resolution": resolution}
    options |= {"pose_drops": pose_drops}
    raise typer.Exit(_guarded(lambda: _verify(paths, out, options, library, executor, workers)))


def _verify(
    paths: list[Path],
    out: Path,
    given: dict[str, Any],
    library: Path | None,
    executor: ExecutorKind,
    workers: int | None,
) -> int:
    from rich.console import Console

    from scenegen.config_records import read_record
    from scenegen.reports.progress import RunProgress
    from scenegen.reports.verification import print_verification, write_verification
    from scenegen.verification.request import VerifyOptions
    from scenegen.verification.verify import verify_files

    options = read_record(given, VerifyOptions, source="the command")
    with RunProgress(Console(stderr=True)) as progress, _executor(executor, None, workers) as execute:
        found = verify_files(paths, out, options, execute, progress, library=library)
    print_verification(found, Console())
    for path in write_verification(found, out):
        typer.echo(f"wrote {path}")
    if library is not None:
        folders = {file.folder for file in found if file.folder is not None}
        typer.echo(f"imported {len(folders)} assets of {len(found)} files into {library}")
    for file in found:
        if file.not_kept:
            typer.echo(f"not imported: {file.path}: {file.not_kept}", err=True)
    return DONE if all(file.accepted and not file.not_kept for file in found) else NOT_CERTIFIED


@app.command(epilog="Example: scenegen reverify out/verified")
def reverify(
    folder: Annotated[
        Path, typer.Argument(help="Output of a run or a verification, or imported assets.", show_default=False)
    ],
    write: Annotated[bool, typer.Option("--write", help="Keep the new certificates there.")] = False,
    executor: Annotated[ExecutorKind, typer.Option(help="Where the checks run.")] = ExecutorKind.RAY,
    workers: Annotated[int | None, typer.Option(min=1, help="Assets at a time; default one for each core.")] = None,
) -> None:
    """Judge again with the installed engines and the present checks, and say what changed.

    Writes reverification.json. Exit code 0: no verdict got worse; 1: one did.
    """
    raise typer.Exit(_guarded(lambda: _reverify(folder, write, executor, workers)))


def _reverify(folder: Path, write: bool, executor: ExecutorKind, workers: int | None) -> int:
    from rich.console import Console

    from scenegen.reports.progress import RunProgress
    from scenegen.verification.change import print_changes, write_changes
    from scenegen.verification.reverify import check_folder, reverify_folder

    check_folder(folder)
    with RunProgress(Console(stderr=True)) as progress, _executor(executor, None, workers) as execute:
        changes = reverify_folder(folder, execute, progress, write=write)
    print_changes(changes, Console())
    typer.echo(f"wrote {write_changes(changes, folder)}")
    return NOT_CERTIFIED if any(change.worse for change in changes) else DONE


@app.command(epilog="Example: scenegen report out/demo")
def report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Output folder of 'run' or 'verify'.", show_default=False)
    ],
    out: Annotated[Path | None, typer.Option(help="Folder of the report; default DIR/report.")] = None,
) -> None:
    """Write a report of a run or a verification that opens in a browser, from disk, without a network.

    Writes DIR/report: index.html, and the same as JSON with its schema, parquet, Markdown and JUnit XML.
    """
    raise typer.Exit(_guarded(lambda: _report(folder, out)))


def _report(folder: Path, out: Path | None) -> int:
    from rich.console import Console
    from rich.progress import Progress

    from scenegen.reports.report import write_report

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("assets and scenes", total=None)
        written = write_report(folder, out, progress=lambda done, of: bar.update(task, completed=done, total=of))
    for path in (*written.written, written.page):
        typer.echo(f"wrote {path}")
    return DONE


@app.command(epilog="Example: scenegen show out/demo/scenes/kitchen_table")
def show(
    path: Annotated[Path, typer.Argument(help="Folder of an asset or a scene, or an MJCF file.", show_default=False)],
    picture: Annotated[bool, typer.Option("--picture", help="Write a picture even where there is a display.")] = False,
) -> None:
    """Open an asset or a scene in MuJoCo's viewer; write a picture where there is no display."""
    raise typer.Exit(_guarded(lambda: _show(path, picture)))


def _show(path: Path, picture: bool) -> int:
    from scenegen.reports.show import show_model

    written = show_model(path, picture=picture)
    if written is not None:
        typer.echo(str(written))
    return DONE


@app.command(epilog="Example: scenegen dataset configs/dataset_nano.yaml --out data/nano --meshes scans/tools")
def dataset(
    config: Annotated[Path, typer.Argument(help="YAML file that describes the data set.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Output folder. The same command again resumes there.")],
    meshes: Annotated[
        list[Path] | None, typer.Option("--meshes", metavar="DIR", help="Folder of meshes, a class; repeatable.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key; repeatable.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes; the bytes do not depend on it.")] = 1,
) -> None:
    """Make training data of the learned generator: shards of signed distance from families and meshes."""
    raise typer.Exit(_guarded(lambda: _dataset(config, overrides or [], out, meshes or [], workers)))


def _dataset(path: Path, overrides: list[str], out: Path, meshes: list[Path], workers: int) -> int:
    from scenegen.learn import load_dataset_config, make_data

    make_data(load_dataset_config(path, overrides, meshes), out, workers=workers, say=typer.echo)
    return DONE


@app.command(epilog="Example: scenegen train configs/train_nano.yaml --data data/nano --out runs/nano")
def train(
    config: Annotated[Path, typer.Argument(help="YAML file that describes the training.", show_default=False)],
    data: Annotated[Path, typer.Option("--data", help="Folder of 'scenegen dataset'.")],
    out: Annotated[Path, typer.Option("--out", help="Output folder. The same command again resumes there.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key; repeatable.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.0, help="Stop after so long, resumable; exit code 1 when not finished.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that share every batch, through Ray Train; one per GPU.")
    ] = 1,
    address: Annotated[str | None, typer.Option(help="Ray cluster to train on, as for 'scenegen run'.")] = None,
    phase: Annotated[
        str | None,
        typer.Option(
            help="Only structure, vae or denoiser, with what it needs; structure may be trained beside the others, "
            "unless denoiser.coarse_times asks for it."
        ),
    ] = None,
    as_is: Annotated[
        bool, typer.Option("--as-is", help="Take phases that were begun as they were saved last; the card says so.")
    ] = False,
) -> None:
    """Train the learned generator: structure, autoencoder, latents. Writes log.jsonl, loss.png and model/."""
    team = {"workers": workers, "address": address, "only": phase, "as_is": as_is}
    raise typer.Exit(_guarded(lambda: _train(config, overrides or [], data, out, minutes, team)))


def _train(path: Path, overrides: list[str], data: Path, out: Path, minutes: float | None, team: dict[str, Any]) -> int:
    from scenegen.learn import load_train_config, train_model

    settings = load_train_config(path, overrides)
    return DONE if train_model(settings, data, out, minutes=minutes, say=typer.echo, **team) else NOT_CERTIFIED


@app.command(epilog="Example: scenegen evaluate runs/nano/model --data data/nano --out runs/nano/evaluation")
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Folder model/ of 'scenegen train'.", show_default=False)],
    data: Annotated[Path, typer.Option("--data", help="Data set that the checkpoint was trained on.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for evaluation.json and samples.png.")],
    samples: Annotated[int, typer.Option(help="Samples to draw, families in turn, boxes never trained on.")] = 64,
    certify: Annotated[
        int | None, typer.Option(help="The first so many go through the whole chain; at most 32 where not given.")
    ] = None,
    baselines: Annotated[
        list[str] | None,
        typer.Option("--baseline", metavar="NAME=DIR", help="Another checkpoint to compare with; repeatable."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Euler steps of a sample.")] = None,
    guidance: Annotated[float | None, typer.Option(min=0.0, help="Classifier-free guidance.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the samples.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw and certify; the figures are the same.")] = 1,
) -> None:
    """Measure a trained checkpoint: reconstruction, raw samples, likeness, novelty, and the share that is certified."""
    settings = {"samples": samples, "certify": min(32, samples) if certify is None else certify, "seed": seed}
    how = {"steps": steps, "guidance": guidance, "workers": workers}
    raise typer.Exit(_guarded(lambda: _evaluate(checkpoint, data, out, settings, baselines or [], how)))


def _evaluate(
    checkpoint: Path,
    data: Path,
    out: Path,
    settings: dict[str, int],
    baselines: list[str],
    how: dict[str, Any],
) -> int:
    from rich.console import Console

    from scenegen.learn import evaluate_model
    from scenegen.reports.evaluation import print_evaluation, write_evaluation

    found = evaluate_model(checkpoint, data, settings, baselines, **how, say=typer.echo)
    print_evaluation(found, Console())
    for path in write_evaluation(found, out):
        typer.echo(f"wrote {path}")
    return DONE


@app.command(epilog="Example: scenegen selftest --assets out/demo --out out/graded")
def selftest(
    out: Annotated[Path, typer.Option("--out", help="Output folder. The same command again resumes there.")],
    assets: Annotated[
        Path | None,
        typer.Option("--assets", help="Folder of certified assets: 20 of them are spoiled, at 0.7, 1.5 and 10 limits."),
    ] = None,
    sizes: Annotated[
        list[float] | None, typer.Option("--size", help="Largest extent [m]; repeatable. Eight from 2 mm to 1 m.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of the random drops of sound solids.")] = 1,
    executor: Annotated[ExecutorKind, typer.Option(help="Where the checks run.")] = ExecutorKind.RAY,
    workers: Annotated[int | None, typer.Option(min=1, help="Specimens at a time; default one for each core.")] = None,
) -> None:
    """Prove the verifier: engines show closed forms, solids of known answers pass, spoiled ones are refused.

    Prints and saves the laws and a confusion matrix. Exit code 0: every answer is right; 1: some is not.
    """
    if assets is not None:
        raise typer.Exit(_guarded(lambda: _graded_selftest(assets, out, executor, workers)))
    raise typer.Exit(_guarded(lambda: _selftest(out, sizes, seeds, executor, workers)))


def _graded_selftest(assets: Path, out: Path, executor: ExecutorKind, workers: int | None) -> int:
    from rich.console import Console

    from scenegen.graded_selftest import Reply, run_graded_selftest
    from scenegen.reports.graded_selftest import print_graded, write_graded
    from scenegen.reports.progress import RunProgress

    with RunProgress(Console(stderr=True)) as progress, _executor(executor, None, workers) as execute:
        answers = run_graded_selftest(assets, out, execute, progress)
    print_graded(answers, Console())
    for path in write_graded(answers, out):
        typer.echo(f"wrote {path}")
    wrong = {Reply.FALSE_PASS, Reply.FALSE_FAIL, Reply.MISNAMED}
    return NOT_CERTIFIED if any(one.reply in wrong for asset in answers for one in asset.answers) else DONE


def _selftest(out: Path, sizes: list[float] | None, seeds: int, executor: ExecutorKind, workers: int | None) -> int:
    from rich.console import Console

    from scenegen.law_selftest import run_law_selftest
    from scenegen.reports.progress import RunProgress
    from scenegen.reports.selftest import print_laws, print_selftest, write_selftest
    from scenegen.selftest import SIZES, run_selftest

    with RunProgress(Console(stderr=True)) as progress, _executor(executor, None, workers) as execute:
        laws = run_law_selftest(out, execute, progress, sizes=sizes or SIZES)
        answers = run_selftest(out, execute, progress, sizes=sizes or SIZES, seeds=seeds)
    print_laws(laws, Console())
    print_selftest(answers, Console())
    typer.echo(f"wrote {write_selftest(answers, laws, out)}")
    return DONE if all(answer.right for answer in (*laws, *answers)) else NOT_CERTIFIED


@app.command(epilog="Example: scenegen doctor")
def doctor(
    gpu: Annotated[
        bool, typer.Option("--gpu", help="A GPU is required; its kernels are compared with their definitions.")
    ] = False,
) -> None:
    """Check this machine: one line for each dependency, engine and GPU, with the fix. Exit code 1 if one is broken."""
    raise typer.Exit(_guarded(lambda: _examine(gpu)))


def _examine(gpu: bool) -> int:
    from scenegen.doctor import GPU_PROBES, PROBES, examine

    probes = (*(probe for probe in PROBES if probe.name != "gpu"), *GPU_PROBES) if gpu else PROBES
    return DONE if examine(typer.echo, probes) else NOT_CERTIFIED


def main() -> None:
    """Run the command line and leave with its exit code."""
    app(prog_name="scenegen")


def _guarded(command: Callable[[], int]) -> int:
    """Return the exit code of a command; a user's error becomes one message, without a traceback."""
    from generators.errors import GeneratorError
    from physics.errors import PhysicsError

    try:
        return command()
    except (ScenegenError, PhysicsError, GeneratorError) as error:
        typer.echo(f"error: {error}", err=True)
        return USER_ERROR
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command resumes where it stopped", err=True)
        return INTERRUPTED
