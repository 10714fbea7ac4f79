"""The doctor: what works is shown by use, what does not is named with its fix."""

from __future__ import annotations

from generators.errors import CheckpointError
from scenegen.doctor import GPU_PROBES, PROBES, Probe, ProbeError, examine


def broken() -> str:
    raise ProbeError("the bone is broken")


def damaged() -> str:
    raise CheckpointError("a weight is missing")


def crash() -> str:
    import ctypes

    return str(ctypes.string_at(0))


def lines_of(*probes: Probe) -> tuple[list[str], bool]:
    lines: list[str] = []
    return lines, examine(lines.append, probes)


def test_this_machine_is_healthy():
    """Both engines drop a ball, CoACD and the booleans work; torch, which is slow to import, has its own line."""
    probes = [probe for probe in PROBES if probe.required and probe.name not in ("torch", "ray")]
    lines, healthy = lines_of(*probes)
    assert healthy and len(lines) == len(probes) + 1
    assert all(line.startswith("ok ") for line in lines[:-1])
    assert any("mujoco" in line and "a dropped ball of 50 mm radius rests at" in line for line in lines)
    assert any("pybullet" in line and "rests at" in line for line in lines)


def test_what_is_broken_is_named_with_its_fix():
    lines, healthy = lines_of(
        Probe("bone", "test_doctor:broken", "a plaster"),
        Probe("weights", "test_doctor:damaged", "install it again"),
        Probe("engine", "test_doctor:crash", "another engine", distribution="not-a-distribution"),
        Probe("toy", "test_doctor:broken", "not needed", required=False),
    )
    assert not healthy
    assert lines[0].startswith("FAIL  bone") and lines[0].endswith("the bone is broken. Fix: a plaster")
    assert lines[1].startswith("FAIL  weights") and "a weight is missing" in lines[1]
    assert "FAIL  engine not installed" in lines[2] and "SIGSEGV" in lines[2]
    assert lines[3].startswith("none  toy")
    assert lines[4] == "something required is broken; see the lines marked FAIL"


def test_what_is_not_required_may_be_missing():
    assert lines_of(Probe("toy", "test_doctor:broken", "not needed", required=False))[1]


def test_a_required_gpu_that_is_missing_is_named():
    import torch

    if not torch.cuda.is_available():
        lines, healthy = lines_of(*GPU_PROBES)
        assert not healthy and all("no CUDA device" in line for line in lines[:2])
