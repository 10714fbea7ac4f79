"""An evaluation for people: the table, `evaluation.json`, and a sheet of the first samples, whatever they are."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from generators.errors import GeneratorError
from physics.errors import PhysicsError
from physics.model import Model
from scenegen.assets import build
from scenegen.evaluation.evaluate import Evaluation
from scenegen.evaluation.likeness import Likeness
from scenegen.evaluation.samples import Sample
from scenegen.pipeline.stage import Rejection
from scenegen.reports.render import contact_sheet, render_model, save_png

RECORD, SHEET = "evaluation.json", "samples.png"
"""Files that are written."""
SHEET_SAMPLES = 64
"""Samples on the sheet [1]."""
GREY = 205
"""Level of the cells of samples that cannot be drawn [1]."""


def print_evaluation(found: Evaluation, console: Console) -> None:
    """Print all figures, a column for each set."""
    sets = list(found.likeness)
    table = Table(title=f"{found.preset} at {found.checkpoint}: {found.config.samples} samples", title_justify="left")
    table.add_column("figure")
    for name in sets:
        table.add_column(name, justify="right")
    raw = [found.raw.get(name) for name in sets]
    counts = (
        ("bounds a solid", "solids"),
        ("closed, 2-manifold, no self-intersection", "closed"),
        ("one part, no specks", "one_part"),
        ("bubbles inside, filled", "filled"),
    )
    for title, key in counts:
        table.add_row(title, *("" if one is None else f"{getattr(one, key) / one.samples:.0%}" for one in raw))
    table.add_row("handles as its family has", *("" if one is None else f"{one.handles} of {one.known}" for one in raw))
    table.add_row(
        "error of the shorter sides: median, 90th percentile",
        *("" if one is None else f"{one.box_error:.1%}, {one.box_error_90:.1%}" for one in raw),
    )
    table.add_row("CPU seconds a sample", *("" if one is None else f"{one.seconds:.2f}" for one in raw))
    alike = [found.likeness[name] for name in sets]
    table.add_row("shapes that are compared with held-out objects", *(str(one.shapes) for one in alike))
    for title, key, digits in (("1-NNA", "nna", 2), ("COV", "cov", 2), ("MMD", "mmd", 4)):
        table.add_row(title, *(_interval(one, key, digits) for one in alike))
    table.add_row(
        "novelty: ratio, copies",
        *("" if one.novelty is None else f"{one.novelty.ratio:.2f}, {one.novelty.copies:.0%}" for one in alike),
    )
    console.print(table)
    median, worst = found.reconstruction
    console.print(f"reconstruction: median IoU {median:.3f}, worst tenth below {worst:.3f}")
    one = found.certified
    if one.samples:
        console.print(
            f"certified by the whole chain: {one.passed + one.warned} of {one.samples} = {one.share:.0%} "
            f"({one.passed} PASS, {one.warned} WARN)"
        )
        for reason, times in one.reasons.items():
            console.print(f"  {times:3d} x {reason}", highlight=False)


def _interval(one: Likeness, key: str, digits: int) -> str:
    figure = getattr(one.against, key)
    return f"{figure.value:.{digits}f} ({figure.low:.{digits}f}..{figure.high:.{digits}f})"


def write_evaluation(found: Evaluation, folder: Path) -> tuple[Path, Path]:
    """Write the record and the sheet of the first samples; return both files."""
    folder.mkdir(parents=True, exist_ok=True)
    record = asdict(replace(found, samples=()))
    del record["samples"]
    record["certified"]["share"] = found.certified.share
    path = folder / RECORD
    path.write_text(json.dumps(_plain(record), indent=1, allow_nan=False) + "\n")
    return path, write_sample_sheet(found.samples[:SHEET_SAMPLES], folder / SHEET)


def write_sample_sheet(samples: tuple[Sample, ...], path: Path, *, columns: int = 8, size: int = 192) -> Path:
    """Draw samples side by side, those that bound no solid as grey cells with the reason."""
    pictures, labels = [], []
    for sample in samples:
        picture, label = _picture(sample, size)
        pictures.append(picture)
        labels.append(label)
    return save_png(contact_sheet(pictures, labels, columns=columns), path)


def _picture(sample: Sample, size: int) -> tuple[np.ndarray, str]:
    empty = np.full((size, size, 3), GREY, dtype=np.uint8)
    if sample.blueprint is None:
        return empty, f"{sample.family}: {sample.fault}"[:32]
    config = build.SurfaceConfig()
    draft = build.Draft(build.AssetRequest("sample", 0, sample.family), sample.blueprint)
    ended = build.extract_solid(draft, config)
    if not isinstance(ended, Rejection):
        return render_model(ended.solid, width=size, height=size).color, sample.family
    label = f"{sample.family}: {ended.reason}"[:32]
    try:
        bodies = tuple(build.solid_body(plan, config, []) for plan in sample.blueprint.bodies)
    except (GeneratorError, PhysicsError):
        return empty, label
    return render_model(Model(sample.family, bodies, ()), width=size, height=size).color, label


def _plain(value: object) -> object:
    """Return the same without what JSON cannot hold: NaN becomes null."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
