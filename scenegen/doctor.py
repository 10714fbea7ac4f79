"""Checks of the machine: every dependency is used once, in a child process, and every line names the fix."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

import numpy as np

from generators.errors import GeneratorError
from physics.errors import PhysicsError
from physics.isolate import Sandbox
from scenegen.arithmetic import arithmetic_digest
from scenegen.errors import ScenegenError
from scenegen.provenance import PACKAGES

PROBE_SECONDS = 60.0
"""Longest one probe may take [s]; importing torch from a cold disk takes 20 s."""
FREE_BYTES = 2 * 2**30
"""Free disk space below which a run is likely to fail [byte]."""
FREE_FALL_TOLERANCE = 1e-3
"""How far a ball may come to rest from its radius above the ground [m]."""

BROKEN = (PhysicsError, ScenegenError, GeneratorError, ImportError, OSError, ValueError, RuntimeError, AttributeError)
"""What a probe may raise."""


class ProbeError(ScenegenError):
    """A dependency does not do what it should."""


@dataclass(frozen=True)
class Probe:
    """One thing that is looked at."""

    name: str
    function: str
    """Address of a function that returns what was found, or raises."""
    fix: str
    required: bool = True
    distribution: str = ""
    """Name under which its version is known; empty for none."""


INSTALL = "pip install --constraint requirements.lock --editable ."
_HERE = "scenegen.doctor"

PROBES = (
    Probe("python", f"{_HERE}:probe_python", "use Python 3.11: PyBullet has no wheel for later versions"),
    Probe("packages", f"{_HERE}:probe_packages", f"install in a fresh environment: {INSTALL}"),
    Probe("numpy", f"{_HERE}:probe_numpy", INSTALL, distribution="numpy"),
    Probe("scipy", f"{_HERE}:probe_scipy", INSTALL, distribution="scipy"),
    Probe("arithmetic", f"{_HERE}:probe_arithmetic", "docs/cluster.md, machines of several kinds", required=False),
    Probe("trimesh", f"{_HERE}:probe_trimesh", INSTALL, distribution="trimesh"),
    Probe("manifold3d", f"{_HERE}:probe_manifold", INSTALL, distribution="manifold3d"),
    Probe("libigl", f"{_HERE}:probe_igl", INSTALL, distribution="libigl"),
    Probe("embreex", f"{_HERE}:probe_embree", INSTALL, distribution="embreex"),
    Probe("coacd", f"{_HERE}:probe_coacd", INSTALL, distribution="coacd"),
    Probe("mujoco", f"{_HERE}:probe_mujoco", INSTALL, distribution="mujoco"),
    Probe(
        "pybullet",
        f"{_HERE}:probe_pybullet",
        "needs Python 3.11 and a C compiler where no wheel fits; without it nothing is ever PASS, only UNDECIDED",
        distribution="pybullet",
    ),
    Probe("torch", f"{_HERE}:probe_torch", INSTALL, distribution="torch"),
    Probe("weights", f"{_HERE}:probe_weights", f"the checkpoint that ships is missing or damaged: {INSTALL}"),
    Probe("ray", f"{_HERE}:probe_ray", f"{INSTALL}; or run with --executor serial", distribution="ray"),
    Probe("pyarrow", f"{_HERE}:probe_pyarrow", INSTALL, distribution="pyarrow"),
    Probe("pillow", f"{_HERE}:probe_pillow", INSTALL, distribution="pillow"),
    Probe("disk", f"{_HERE}:probe_disk", "free some space, or choose another --out", required=False),
    Probe("gpu", f"{_HERE}:probe_gpu", "none is needed; the learned generator is faster with one", required=False),
    Probe("display", f"{_HERE}:probe_display", "none is needed; 'scenegen show' writes a picture", required=False),
)

GPU_PROBES = (
    Probe("gpu", f"{_HERE}:probe_gpu", "install a torch that is built for this machine's CUDA"),
    Probe(
        "numerics",
        f"{_HERE}:probe_numerics",
        "do not train or sample on this GPU; report the line with the versions of torch and triton",
    ),
)
"""What `doctor --gpu` looks at besides: kernels of the learned generator against their definitions."""


def examine(say: Callable[[str], None], probes: tuple[Probe, ...] = PROBES) -> bool:
    """Run all probes, say one line for each, and return whether everything required works.

    Args:
        say: Prints a line.
        probes: What to look at.
    """
    healthy = True
    with Sandbox() as sandbox:
        for probe in probes:
            line, works = _probe(probe, sandbox)
            say(line)
            healthy &= works or not probe.required
    say("everything required works" if healthy else "something required is broken; see the lines marked FAIL")
    return healthy


def _probe(probe: Probe, sandbox: Sandbox) -> tuple[str, bool]:
    version = ""
    if probe.distribution:
        try:
            version = metadata.version(probe.distribution)
        except metadata.PackageNotFoundError:
            version = "not installed"
    title = f"{probe.name} {version}".strip()
    try:
        found = sandbox.call(probe.function, deadline_s=PROBE_SECONDS)
    except (
        PhysicsError,
        ScenegenError,
        GeneratorError,
        ImportError,
        OSError,
        ValueError,
        RuntimeError,
        AttributeError,
    ) as error:
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        mark = "FAIL" if probe.required else "none"
        return f"{mark}  {title:22} {first}. Fix: {probe.fix}", False
    return f"ok    {title:22} {found}", True


def _expect(good: bool, message: str) -> None:
    if not good:
        raise ProbeError(message)


def _cube() -> tuple[np.ndarray, np.ndarray]:
    corners = np.array([[x, y, z] for x in (0.0, 1.0) for y in (0.0, 1.0) for z in (0.0, 1.0)])
    faces = [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6],
             [0, 6, 4], [1, 5, 7], [1, 7, 3]]  # fmt: skip
    return corners, np.array(faces, dtype=np.int32)


def probe_python() -> str:
    """Python and the machine."""
    _expect(sys.version_info >= (3, 11), f"Python {platform.python_version()}, expected 3.11")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{platform.python_version()}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB of memory"


def probe_packages() -> str:
    """Whether our three packages come from one place, and not from namesakes."""
    roots = set()
    for name in PACKAGES:
        spec = util.find_spec(name)
        _expect(spec is not None and spec.origin is not None, f"package {name} is not installed")
        roots.add(Path(str(spec and spec.origin)).resolve().parents[1])
    _expect(len(roots) == 1, f"{', '.join(PACKAGES)} come from different folders: {sorted(map(str, roots))}")
    return f"{', '.join(PACKAGES)} from {roots.pop()}"


def probe_arithmetic() -> str:
    """How this machine rounds: machines with one digest make the same bytes."""
    return f"digest {arithmetic_digest()[:12]}; machines that show the same one make the same bytes"


def probe_numpy() -> str:
    """A linear system."""
    matrix = np.array([[2.0, 1.0], [1.0, 3.0]])
    _expect(
        bool(np.allclose(matrix @ np.linalg.solve(matrix, [1.0, 2.0]), [1.0, 2.0])), "a linear system came out wrong"
    )
    return "solved a linear system"


def probe_scipy() -> str:
    """A convex hull."""
    from scipy.spatial import ConvexHull

    volume = ConvexHull(_cube()[0]).volume
    _expect(abs(volume - 1.0) < 1e-9, f"hull of a unit cube has volume {volume}")
    return "hull of a cube"


def probe_trimesh() -> str:
    """Volume of a cube."""
    import trimesh

    volume = trimesh.Trimesh(*_cube(), process=False).volume
    _expect(bool(abs(volume - 1.0) < 1e-9), f"a unit cube has volume {volume}")
    return "volume of a cube"


def probe_manifold() -> str:
    """An exact boolean."""
    import manifold3d

    cube = manifold3d.Manifold.cube((1.0, 1.0, 1.0))
    volume = (cube - cube.translate((0.5, 0.0, 0.0))).volume()
    _expect(abs(volume - 0.5) < 1e-9, f"half a unit cube has volume {volume}")
    return "cut a cube in two"


def probe_igl() -> str:
    """A winding number."""
    import igl

    vertices, faces = _cube()
    inside = float(np.ravel(igl.fast_winding_number(vertices, faces.astype(np.int64), np.array([[0.5, 0.5, 0.5]])))[0])
    _expect(abs(abs(inside) - 1.0) < 0.05, f"winding number inside a cube is {inside}")
    return "winding number inside a cube"


def probe_embree() -> str:
    """A ray against a cube."""
    import trimesh
    from trimesh.ray.ray_pyembree import RayMeshIntersector

    mesh = trimesh.Trimesh(*_cube(), process=False)
    hit = RayMeshIntersector(mesh).intersects_any([[0.3, 0.4, 5.0], [3.0, 0.4, 5.0]], [[0.0, 0.0, -1.0]] * 2)
    _expect(hit.tolist() == [True, False], f"rays at a cube hit {hit.tolist()}, expected [True, False]")
    return "shot a ray at a cube"


def probe_coacd() -> str:
    """A decomposition of a cube."""
    import coacd

    coacd.set_log_level("off")
    parts = coacd.run_coacd(coacd.Mesh(*_cube()), threshold=0.2, preprocess_mode="off")
    _expect(len(parts) == 1, f"a cube became {len(parts)} hulls")
    return "a cube is one hull"


def probe_mujoco() -> str:
    """A ball dropped on a plane."""
    from mujoco import MjData, MjModel, mj_step  # pyright: ignore[reportAttributeAccessIssue]

    model = MjModel.from_xml_string(
        "<mujoco><worldbody><geom type='plane' size='1 1 .1'/><body pos='0 0 .2'><freejoint/>"
        "<geom type='sphere' size='.05'/></body></worldbody></mujoco>"
    )
    data = MjData(model)
    for _ in range(round(2.0 / model.opt.timestep)):
        mj_step(model, data)
    return _at_rest(float(data.qpos[2]))


def probe_pybullet() -> str:
    """A ball dropped on a plane."""
    import pybullet

    client = pybullet.connect(pybullet.DIRECT)
    try:
        pybullet.setGravity(0, 0, -9.81, physicsClientId=client)
        plane = pybullet.createCollisionShape(pybullet.GEOM_PLANE, physicsClientId=client)
        ball = pybullet.createCollisionShape(pybullet.GEOM_SPHERE, radius=0.05, physicsClientId=client)
        pybullet.createMultiBody(0, plane, physicsClientId=client)
        body = pybullet.createMultiBody(1.0, ball, basePosition=[0, 0, 0.2], physicsClientId=client)
        for _ in range(480):
            pybullet.stepSimulation(physicsClientId=client)
        return _at_rest(pybullet.getBasePositionAndOrientation(body, physicsClientId=client)[0][2])
    finally:
        pybullet.disconnect(client)


def _at_rest(height: float) -> str:
    _expect(
        abs(height - 0.05) < FREE_FALL_TOLERANCE,
        f"a ball of 50 mm radius came to rest {1e3 * height:.2f} mm above the ground, expected 50 +- 1 mm",
    )
    return f"a dropped ball of 50 mm radius rests at {1e3 * height:.2f} mm"


def probe_torch() -> str:
    """A product of matrices."""
    import torch

    product = torch.eye(3) @ torch.arange(9.0).reshape(3, 3)
    _expect(bool(torch.equal(product, torch.arange(9.0).reshape(3, 3))), "a matrix product came out wrong")
    return "multiplied matrices on the CPU"


def probe_weights() -> str:
    """Read the checkpoints that ship with the package, every hash checked."""
    from generators.ssa.checkpoint import load_model
    from generators.ssa.generator import BUNDLED_CHECKPOINTS

    models = [load_model(file) for file in BUNDLED_CHECKPOINTS.values()]
    return "; ".join(f"{model.preset.name} knows {', '.join(model.families)}" for model in models)


def probe_ray() -> str:
    """Whether Ray can be imported; starting one takes too long for a look."""
    from scenegen.pipeline.ray_session import describe_ray

    return describe_ray()


def probe_pyarrow() -> str:
    """A table through a file."""
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({"a": [1, 2, 3]})
    with tempfile.TemporaryDirectory() as folder:
        parquet.write_table(table, f"{folder}/table.parquet")
        _expect(parquet.read_table(f"{folder}/table.parquet").equals(table), "a table came back changed")
    return "a table through a parquet file"


def probe_pillow() -> str:
    """A picture through a file."""
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (4, 4), (10, 20, 30)).save(file, "PNG")
    _expect(Image.open(file).convert("RGB").getpixel((1, 1)) == (10, 20, 30), "a picture came back changed")
    return "a picture through a png file"


def probe_disk() -> str:
    """Free space here."""
    free = shutil.disk_usage(Path.cwd()).free
    _expect(free > FREE_BYTES, f"{free / 2**30:.1f} GiB are free in {Path.cwd()}, expected {FREE_BYTES / 2**30:.0f}")
    return f"{free / 2**30:.0f} GiB free in {Path.cwd()}"


def probe_gpu() -> str:
    """A product of matrices on the GPU."""
    import torch

    _expect(torch.cuda.is_available(), "no CUDA device")
    product = (torch.eye(2, device="cuda") @ torch.ones(2, 2, device="cuda")).sum().item()
    _expect(product == 4.0, f"a matrix product on the GPU came out as {product}")
    return f"{torch.cuda.get_device_name(0)}, multiplied matrices"


def probe_numerics() -> str:
    """Kernels of the learned generator on the GPU."""
    import torch

    from generators.ssa.numerics import check_numerics

    _expect(torch.cuda.is_available(), "no CUDA device")
    checks = list(check_numerics(torch.device("cuda")))
    wrong = [f"{check.name}: {check.finding}" for check in checks if not check.passed]
    _expect(not wrong, f"{len(wrong)} of {len(checks)} comparisons fail: {'; '.join(wrong)}")
    closest = max((check for check in checks if check.limit > 0), key=lambda check: check.error / check.limit)
    return f"{len(checks)} comparisons hold; closest to its limit: {closest.name}, {closest.error:.1g}"


def probe_display() -> str:
    """A display for the viewer."""
    from scenegen.reports.show import has_display

    _expect(has_display(), "no display")
    return "a display for the viewer"
