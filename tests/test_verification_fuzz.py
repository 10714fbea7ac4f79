"""Loaders of foreign files: damaged bytes of every format end as a record or a row, never as anything else."""

from __future__ import annotations

import functools
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from physics.isolate import Sandbox

BOX = (0.06, 0.04, 0.1)
SECONDS = 10.0
"""Longest that a file of a few kilobytes may take [s]."""
MEMORY = 2 * 2**30
"""Most memory that it may take [byte]."""
URDF = """<robot name="r"><link name="l"><inertial><origin xyz="0 0 0" rpy="0 0 0"/><mass value="0.17"/>
<inertia ixx="0.00017" iyy="0.0002" izz="0.00008" ixy="0" ixz="0" iyz="0"/></inertial>
<visual><origin xyz="0 0 0"/><geometry><mesh filename="box.obj" scale="1 1 1"/></geometry></visual>
<collision><geometry><cylinder radius="0.03" length="0.1"/></geometry></collision></link></robot>"""
MJCF = """<mujoco><compiler angle="radian"/><option timestep="0.002"/><asset><mesh name="box" file="box.obj"/></asset>
<worldbody><body name="b" pos="0 0 0.1"><freejoint/><inertial pos="0 0 0" mass="0.17"
diaginertia="0.00017 0.0002 0.00008"/>
<geom type="mesh" mesh="box" contype="0" conaffinity="0"/>
<geom type="box" size="0.03 0.02 0.05"/></body></worldbody></mujoco>"""


def gltf_bytes() -> bytes:
    """A glTF with its buffer inside."""
    files = trimesh.exchange.gltf.export_gltf(trimesh.Scene(trimesh.creation.box(BOX)), merge_buffers=True)
    import base64

    tree = json.loads(files["model.gltf"])
    tree["buffers"][0]["uri"] = (
        "data:application/octet-stream;base64,"
        + base64.b64encode(next(data for name, data in files.items() if name.endswith(".bin"))).decode()
    )
    return json.dumps(tree).encode()


def exported(kind: str, **options) -> bytes:
    data = trimesh.creation.box(BOX).export(file_type=kind, **options)
    return data.encode() if isinstance(data, str) else data


@functools.cache
def valid_files() -> dict[str, bytes]:
    """A valid file of each format, by the name of the file."""
    return {
        "a.obj": exported("obj"),
        "a.stl": exported("stl"),
        "ascii.stl": exported("stl_ascii"),
        "a.ply": exported("ply"),
        "ascii.ply": exported("ply", encoding="ascii"),
        "a.off": exported("off"),
        "a.glb": exported("glb"),
        "a.gltf": gltf_bytes(),
        "a.urdf": URDF.encode(),
        "a.xml": MJCF.encode(),
    }


HUGE = (b"1e308", b"-1e308", b"1e-320", b"nan", b"inf", b"999999999999", b"-1", b"0", b"2147483648", b"1e39")
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:e-?\d+)?")


@st.composite
def damaged(draw, name: str) -> bytes:
    """Bytes of a valid file after a few accidents."""
    data = valid_files()[name]
    for _ in range(draw(st.integers(1, 4))):
        data = draw(st.sampled_from(ACCIDENTS))(draw, data)
    return data


def truncated(draw, data: bytes) -> bytes:
    return data[: draw(st.integers(0, len(data)))]


def flipped(draw, data: bytes) -> bytes:
    changed = bytearray(data)
    for place in draw(st.lists(st.integers(0, max(len(data) - 1, 0)), max_size=8)) if data else []:
        changed[place] = draw(st.integers(0, 255))
    return bytes(changed)


def spliced(draw, data: bytes) -> bytes:
    other = draw(st.sampled_from(sorted(valid_files().values())))
    start, end = sorted(draw(st.tuples(st.integers(0, len(other)), st.integers(0, len(other)))))
    place = draw(st.integers(0, len(data)))
    return data[:place] + other[start:end] + data[draw(st.integers(place, len(data))) :]


def renumbered(draw, data: bytes) -> bytes:
    found = list(NUMBER.finditer(data))
    if not found:
        return data
    match = draw(st.sampled_from(found))
    return data[: match.start()] + draw(st.sampled_from(HUGE)) + data[match.end() :]


def inserted(draw, data: bytes) -> bytes:
    place = draw(st.integers(0, len(data)))
    return data[:place] + draw(st.binary(max_size=64)) + data[place:]


def overwritten(draw, data: bytes) -> bytes:
    """A whole number of 32 bits replaced: counts and offsets of binary formats."""
    place = draw(st.integers(0, max(len(data) - 4, 0)))
    number = draw(st.sampled_from([0, 1, 2**31 - 1, 2**32 - 1, 2**30, 7]))
    return data[:place] + struct.pack("<I", number) + data[place + 4 :]


ACCIDENTS = (truncated, flipped, spliced, renumbered, inserted, overwritten)


def read_one(path: str) -> str:
    """Read a file as the first step of a verification does, and what it gave as the store would keep it."""
    from scenegen.assets.build import Draft, SurfaceConfig
    from scenegen.pipeline.codec import record_digest
    from scenegen.pipeline.stage import Rejection
    from scenegen.verification.chain import read_file
    from scenegen.verification.request import VerifyOptions, VerifyRequest

    found = read_file(VerifyRequest("asset_00000", path, "", 0, VerifyOptions(units="m")), SurfaceConfig())
    assert isinstance(found, Draft | Rejection)
    record_digest(found)
    return found.message if isinstance(found, Rejection) else "read"


@pytest.fixture(scope="module")
def child() -> Iterator[Sandbox]:
    with Sandbox(memory_bytes=MEMORY) as sandbox:
        sandbox.call(read_one, __file__, deadline_s=60.0)  # imports
        yield sandbox


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("fuzz")
    trimesh.creation.box(BOX).export(place / "box.obj")
    return place


def check_damaged(name: str, folder: Path, child: Sandbox, count: int) -> None:
    @settings(
        max_examples=count, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(data=damaged(name))
    def ends_as_a_record_or_a_row(data: bytes) -> None:
        (folder / name).write_bytes(data)
        assert child.call(read_one, str(folder / name), deadline_s=SECONDS)

    ends_as_a_record_or_a_row()


@pytest.mark.parametrize("name", valid_files())
def test_a_valid_file_is_read(name: str, folder: Path, child: Sandbox) -> None:
    (folder / name).write_bytes(valid_files()[name])
    assert child.call(read_one, str(folder / name), deadline_s=SECONDS) == "read"


@pytest.mark.parametrize("name", valid_files())
def test_a_damaged_file_ends_as_a_record_or_a_row(name: str, folder: Path, child: Sandbox) -> None:
    check_damaged(name, folder, child, 20)


@pytest.mark.slow
@pytest.mark.parametrize("name", valid_files())
def test_many_damaged_files_end_as_a_record_or_a_row(name: str, folder: Path, child: Sandbox) -> None:
    check_damaged(name, folder, child, 1500)
