"""The Python API: `scenegen.generate`, `verify`, `load_asset`, `load_scene`, their PyBullet twins and `attach`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scenegen.assets.attach import attach
from scenegen.assets.package import load_asset
from scenegen.scenes.load import load_scene

if TYPE_CHECKING:
    from scenegen.assets.build import CertifiedAsset
    from scenegen.pipeline.stage import Rejection
    from scenegen.verification.verified import VerifiedFile

__all__ = ["attach", "generate", "load_asset", "load_asset_pybullet", "load_scene", "load_scene_pybullet", "verify"]


def generate(
    family: str,
    *,
    seed: int = 0,
    resolution: int = 128,
    parameters: Mapping[str, float] | None = None,
    generator: Literal["procedural", "ssa"] = "procedural",
    checkpoint: str = "bundled",
) -> CertifiedAsset | Rejection:
    """Make and certify one object in this process: the whole chain, both engines included.

    The same arguments give the same object. The first call in a process also measures what perfect solids show in
    both engines, which takes seconds.

    Args:
        family: Name of the object family, such as "mug".
        seed: Every random draw comes from it.
        resolution: Voxels along the longest side of a procedural object [1]; 32 to 1024.
        parameters: Family parameters that are given instead of drawn [m] or [1].
        generator: `procedural`, or `ssa` for the learned one, which takes the parameters `extent_x`, `extent_y`,
            `extent_z` [m] and draws families that it does not know procedurally.
        checkpoint: Weights of the learned generator: `bundled`, `bundled-nano`, or a folder.

    Returns:
        The asset and its certificate, or the check that ended it.

    Raises:
        ConfigError: An argument that no run accepts either: unknown family or parameter, value out of range.
    """
    from scenegen.assets.build import AssetRequest, build_asset
    from scenegen.config import check_config
    from scenegen.run import build_config, measure_engines

    batch = {"families": [family], "count": 1, "parameters": dict(parameters or {})}
    asked: dict[str, Any] = {"name": "generate", "seed": seed, "objects": [batch]}
    asked["generator"] = {"kind": generator, "resolution": resolution, "checkpoint": checkpoint}
    # The loader of configuration files has the rules for these values, and their messages.
    config = check_config(asked, source="generate")
    request = AssetRequest(family, config.seed, family, config.objects[0].parameters)
    return build_asset(request, build_config(config, measure_engines(config.drop)))


def verify(
    paths: Path | str | Sequence[Path | str], out: Path | str, *, library: Path | str | None = None, **options: Any
) -> list[VerifiedFile]:
    """Judge foreign meshes, URDF and MJCF files in this process, as `scenegen verify` does.

    Args:
        paths: Files, and folders in which all files of a known format are taken.
        out: Folder for the results of the steps; the same call again takes them from there.
        library: Folder that takes what is PASS or WARN as assets, as `--import` does; each file then says its `folder`.
        options: Fields of `scenegen.verification.request.VerifyOptions`: units, up, material, density, derive_inertia,
            solidify, resolution.

    Raises:
        ConfigError: a path, an option or a unit that is missing.
        AssetError: the library holds something else in the place of an asset.
    """
    from rich.console import Console

    from scenegen.config_records import read_record
    from scenegen.pipeline.run_serial import run_serial
    from scenegen.reports.progress import RunProgress
    from scenegen.verification.request import VerifyOptions
    from scenegen.verification.verify import verify_files

    asked = [paths] if isinstance(paths, (str, Path)) else list(paths)
    settings = read_record(options, VerifyOptions, source="verify")
    with RunProgress(Console(quiet=True)) as progress:
        files, kept = [Path(path) for path in asked], None if library is None else Path(library)
        return verify_files(files, Path(out), settings, run_serial, progress, library=kept)


def load_scene_pybullet(folder: Path | str, client: int) -> dict[str, int]:
    """Load a scene into a connected PyBullet client, with the settings under which it was verified.

    Objects come with hulls, explicit inertia, margins and fitted friction; furniture is fixed. Gravity and time step
    of the client are set. `getBasePositionAndOrientation` gives PyBullet's inertial frame, at the centre of mass, not
    the frame of `scene.json`.

    Args:
        folder: The scene's folder, such as `out/demo/scenes/kitchen_table`.
        client: What `pybullet.connect` returned.

    Returns:
        PyBullet's body number of the ground, every piece of furniture and every object, by name.

    Raises:
        SceneError: The folder holds no scene, was changed, or PyBullet holds something else than was written.
        AssetError: The folder of an asset is incomplete or was changed.
    """
    import pybullet

    from scenegen.scenes import load

    return load.load_scene_pybullet(folder, pybullet, client)


def load_asset_pybullet(folder: Path | str, client: int) -> int:
    """Load an asset into a connected PyBullet client, with the margins, inertia and friction of its verification.

    `loadURDF` on `model.urdf` is not the same: it puts a margin of 1 mm around every hull. Sets gravity, time step and
    contact parameters of the client for this asset: load the smallest asset last. Friction is fitted to the ground of
    the drops: give your own ground a `lateralFriction` of 1, and neither rolling nor spinning friction.

    Args:
        folder: The asset's folder, such as `out/demo/assets/3f/3f...`.
        client: What `pybullet.connect` returned.

    Returns:
        PyBullet's body number. The asset's frame is at the world's origin; `resetBasePositionAndOrientation` takes
        the inertial frame, at the centre of mass.

    Raises:
        AssetError: The folder is incomplete or was changed.
        SceneError: PyBullet holds something else than was written.
    """
    import pybullet

    from scenegen.scenes import load

    return load.load_asset_pybullet(folder, pybullet, client)
