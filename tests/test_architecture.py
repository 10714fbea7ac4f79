"""The arrows between packages, the owners of heavy imports, and what must not be drawn or timed."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("physics", "generators", "scenegen")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

MAY_IMPORT = {
    "physics": ("physics",),
    "generators": ("generators", "physics.mesh", "physics.pose"),
    "scenegen": ("scenegen", "generators", "physics"),
}
"""Which of our modules each package may import."""

OWNERS = {
    "torch": ("generators/", "scenegen/doctor.py"),
    "triton": ("generators/ssa/attention_triton.py",),
    "spconv": ("generators/",),
    "ray": ("scenegen/pipeline/run_ray.py", "scenegen/pipeline/ray_"),
    "coacd": ("physics/hulls.py", "physics/coacd_run.py", "scenegen/doctor.py"),
    "mujoco": ("physics/", "scenegen/"),
    "pybullet": ("physics/", "scenegen/doctor.py", "scenegen/assets/", "scenegen/api.py"),
}
"""Where each heavy dependency may be imported, and only inside functions."""

AT_MODULE_LEVEL = {"torch": "generators/ssa/", "triton": "generators/ssa/attention_triton.py"}
"""The owners of torch and Triton import them where any module does; nothing else imports the folder at module level."""

BANNED_MODULES = ("random", "uuid", "secrets", "time", "datetime")
"""Sources of chance and clocks, in packages whose results must repeat."""

CLOCK_ALLOWED = ("physics/isolate.py", "physics/drop_trial.py", "physics/drop.py")
"""Files that may look at a clock: deadlines, and the processor time after which a drop is stopped."""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """Yield module, line, and whether the import runs when the file is imported."""
    tree = ast.parse(path.read_text())
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for block in ast.walk(tree):
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            inside |= {id(node) for node in ast.walk(block)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, id(node) not in inside
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: relative import; write the canonical path"
            for alias in node.names:  # `from physics import mesh` imports physics.mesh
                yield f"{node.module}.{alias.name}", node.lineno, id(node) not in inside


def inside_any(module: str, allowed: tuple[str, ...]) -> bool:
    return any(module == one or module.startswith(one + ".") for one in allowed)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_arrows_point_down(path):
    package = path.relative_to(ROOT).parts[0]
    for module, line, _ in imports(path):
        if module.split(".")[0] in PACKAGES:
            assert inside_any(module, MAY_IMPORT[package]), (
                f"{name_of(path)}:{line} imports {module}: arrows point down"
            )


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_heavy_imports_stay_with_their_owners(path):
    for module, line, at_import in imports(path):
        heavy = module.split(".")[0]
        if heavy in OWNERS:
            where = f"{name_of(path)}:{line}"
            assert name_of(path).startswith(OWNERS[heavy]), f"{where} imports {heavy}; its owners: {OWNERS[heavy]}"
            owned = heavy in AT_MODULE_LEVEL and name_of(path).startswith(AT_MODULE_LEVEL[heavy])
            assert owned or not at_import, f"{where} imports {heavy} at module level; import it inside the function"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_learned_generator_is_imported_inside_functions_only(path):
    if not name_of(path).startswith("generators/ssa/"):
        for module, line, at_import in imports(path):
            assert not (at_import and module.startswith("generators.ssa")), f"{name_of(path)}:{line} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_chance_and_no_clock_in_results(path):
    relative = name_of(path)
    decides = relative.startswith(("physics/", "generators/", "scenegen/scenes/", "scenegen/assets/"))
    if not decides:
        return
    for module, line, _ in imports(path):
        banned = module.split(".")[0]
        allowed = relative in CLOCK_ALLOWED and banned == "time"
        assert banned not in BANNED_MODULES or allowed, f"{relative}:{line} imports {module}: results must repeat"
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Attribute):
            continue
        text = ast.unparse(node)
        if text.startswith(("np.random.", "numpy.random.")):
            drawn = text.split(".")[2]
            assert drawn in ("Generator", "default_rng", "PCG64", "SeedSequence"), (
                f"{relative}:{node.lineno} uses {text}: take a np.random.Generator as an argument"
            )
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("default_rng"):
            assert node.args, f"{relative}:{node.lineno}: default_rng() without a seed"


def test_no_words_that_say_nothing_in_file_names():
    banned = {"utils", "util", "helpers", "common", "misc", "manager", "processor", "handler"}
    assert [name_of(path) for path in FILES if banned & set(path.stem.split("_"))] == []


def test_nothing_is_pickled_on_disk():
    """Pickle may travel between processes of one run, nowhere else."""
    users = {name_of(path) for path in FILES for module, _, _ in imports(path) if module.split(".")[0] == "pickle"}
    assert users <= {"physics/isolate.py", "scenegen/pipeline/run_ray.py", "scenegen/pipeline/ray_worker.py"}


def test_packages_share_one_root():
    roots = set()
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        assert spec is not None and spec.origin is not None
        roots.add(Path(spec.origin).resolve().parents[1])
    assert roots == {ROOT}


def test_importing_scenegen_is_quick_and_light():
    """Under 1 s of processor time, and nothing heavy is loaded."""
    code = (
        "import time, sys; t = time.process_time(); import scenegen; t = time.process_time() - t\n"
        "heavy = {'torch', 'ray', 'mujoco', 'pybullet', 'coacd', 'trimesh', 'scipy'} & set(sys.modules)\n"
        "print(t, sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, heavy = done.stdout.split(maxsplit=1)
    assert float(seconds) < 1.0
    assert heavy.strip() == "[]"


def test_help_and_bad_commands_answer_at_once():
    code = (
        "import sys; from scenegen import cli; print(sorted({'torch', 'ray', 'mujoco', 'trimesh'} & set(sys.modules)))"
    )
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert time.monotonic() - begun < 20
