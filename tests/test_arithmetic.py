"""The digest of a machine's arithmetic tells kernels apart, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from scenegen.arithmetic import PINS, arithmetic_digest

PROBE = "from scenegen.arithmetic import arithmetic_digest; print(arithmetic_digest())"


def digest_under(**environment: str) -> str:
    """The digest of a process with this environment."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("threads", ["1", "2"])
def test_threads_do_not_change_it(threads: str) -> None:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    assert digest_under(**dict.fromkeys(names, threads)) == arithmetic_digest()


def test_other_kernels_change_it() -> None:
    kinds = {digest_under(OPENBLAS_CORETYPE=kind) for kind in ("Nehalem", "Haswell")}
    assert len(kinds) == 2  # one of them may be this machine's


def test_pins_take_the_place_of_the_processor() -> None:
    pinned = digest_under(**dict.fromkeys(PINS, "avx2"))
    assert pinned == digest_under(**dict.fromkeys(PINS, "avx2")) != arithmetic_digest()
