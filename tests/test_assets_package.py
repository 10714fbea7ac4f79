"""Assets as files: identity, round trips in every format, the same bytes, refusals."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from generators.volume import SparseVolume
from physics.check import Check, Verdict
from physics.mass import combine_masses, integrate_mesh
from physics.materials import find_material
from physics.mesh import Mesh
from physics.model import Body, Hull, Joint, JointKind, Model, Part
from physics.pose import Pose
from scenegen.assets.asset import Asset, Provenance, RestPose, content_id, settle_on_plane
from scenegen.assets.asset_json import read_obj
from scenegen.assets.attach import attach
from scenegen.assets.certificate import (
    ENGINE_CHECKS,
    GEOMETRY_CHECKS,
    REQUIRED_CHECKS,
    Certificate,
    certificate_bytes,
    load_certificate,
)
from scenegen.assets.export_urdf import roll_pitch_yaw
from scenegen.assets.manifest import RejectionRow, asset_row, write_manifest, write_rejections
from scenegen.assets.package import load_asset, stage_asset, verify_files, write_asset
from scenegen.assets.readback import read_back
from scenegen.assets.tree import walk_tree
from scenegen.errors import AssetError
from scenegen.pipeline.stage import Rejection

ENGINES = (("mujoco", "4.0.0"), ("pybullet", "3.2.7"))


def box(extents, centre) -> Mesh:
    made = trimesh.creation.box(extents)
    return Mesh(np.asarray(made.vertices) + np.array(centre), np.asarray(made.faces))


def make_body(name: str, parts) -> Body:
    made = tuple(Part(part, mesh, find_material(material)) for part, mesh, material in parts)
    masses = [integrate_mesh(part.surface, density=part.material.density) for part in made]
    return Body(name, made, tuple(Hull(part.surface, part.name) for part in made), combine_masses(masses))


def hammer(scale: float = 1.0) -> Body:
    s = scale
    handle = ("handle", box((0.03 * s, 0.03 * s, 0.3 * s), (0, 0, 0.15 * s)), "beech")
    head = ("head", box((0.1 * s, 0.04 * s, 0.04 * s), (0.02 * s, 0.01 * s, 0.3201 * s)), "steel")
    return make_body("hammer", [handle, head])


def two_bodies(kind: JointKind) -> Model:
    lid = make_body("lid", [("plate", box((0.1, 0.05, 0.01), (0.05, 0.01, 0.005)), "abs")])
    X_PC = Pose.from_axis_angle(np.array([1.0, 2.0, 3.0]), 0.7, np.array([0.02, 0.0, 0.5]))
    joint = Joint("hinge", kind, "hammer", "lid", X_PC, np.array([0.0, 0.6, 0.8]), -0.2, 1.0)
    return Model("gadget", (hammer(), lid), (joint,))


def make_volume() -> SparseVolume:
    ijk = np.stack(np.meshgrid(*[np.arange(6)] * 3, indexing="ij"), -1).reshape(-1, 3)
    values = np.linalg.norm((ijk - 2.5) * 0.01, axis=1) - 0.015
    return SparseVolume(ijk, values.astype(np.float32), 0.01, (0.0, 0.1, 0.2))


def make_asset(model: Model | None = None, **changes) -> Asset:
    model = model or Model("hammer", (hammer(),))
    lying = settle_on_plane(model.root, Pose.from_axis_angle(np.array([0.0, 1.0, 0.0]), np.pi / 2))
    rest = (RestPose(lying, 0.75, False, ("mujoco", "pybullet")),)
    volumes = (make_volume(),) * sum(len(body.parts) for body in model.bodies)
    provenance = Provenance("test", 7, "object_00000", {"length": 0.3})
    return replace(Asset(model, volumes, "hammer", provenance, rest), **changes)


def complete_checks(engines=("mujoco", "pybullet")) -> tuple[Check, ...]:
    made = [Check(name, "measured", 0.0, "1", 1.0, body="hammer") for name in (*GEOMETRY_CHECKS, "D12")]
    return (*made, *(Check(name, "measured", 0.0, "1", 1.0, engine=e) for e in engines for name in ENGINE_CHECKS))


def certificate(asset: Asset, **changes) -> Certificate:
    bodies = tuple(body.name for body in asset.model.bodies)
    return replace(Certificate(asset.asset_id, ENGINES, bodies, complete_checks()), **changes)


def tree_bytes(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# ---- identity --------------------------------------------------------------------------------------------------


def test_identity_is_of_geometry_mass_and_materials_only():
    asset = make_asset()
    other_history = make_asset(provenance=Provenance("other", 8, "x"), rest_poses=(), volumes=(), family="mallet")
    assert asset.asset_id == other_history.asset_id
    body = asset.model.root
    heavier = replace(body, mass_properties=replace(body.inertial, mass=body.inertial.mass * (1 + 1e-15)))
    slippery = replace(body.parts[1], material=replace(body.parts[1].material, sliding_friction=0.1))
    changed = [
        replace(body, hulls=body.hulls[:1]),
        heavier,
        replace(body, parts=(body.parts[0], slippery)),
        hammer(1.000001),
    ]
    identities = {content_id(Model("hammer", (one,))) for one in (body, *changed)}
    assert len(identities) == 1 + len(changed)


@pytest.mark.parametrize("name", ["../up", "a/b", "Hammer", "1st", "", "a b", "a\n"])
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(AssetError, match="is no name"):
        make_asset(family=name)


def test_asset_without_hulls_is_refused():
    with pytest.raises(AssetError, match="0 hulls"):
        replace(make_asset(), model=Model("hammer", (replace(hammer(), hulls=()),)))


def test_rest_pose_lies_on_the_plane():
    asset = make_asset()
    for pose in asset.rest_poses:
        lowest = min(pose.X_WB.apply(hull.mesh.vertices)[:, 2].min() for hull in asset.model.root.hulls)
        assert abs(lowest) < 1e-12


# ---- certificate -----------------------------------------------------------------------------------------------


def test_complete_evidence_passes_and_every_gap_does_not():
    asset = make_asset()
    assert certificate(asset).verdict is Verdict.PASS
    for missing in REQUIRED_CHECKS:
        checks = tuple(check for check in complete_checks() if check.id != missing)
        assert certificate(asset, checks=checks).verdict is Verdict.UNDECIDED, missing


@pytest.mark.parametrize("engine", ["mujoco", "pybullet"])
@pytest.mark.parametrize("identifier", ENGINE_CHECKS)
def test_a_drop_check_of_one_engine_only_is_not_a_pass(engine, identifier):
    checks = tuple(c for c in complete_checks() if not (c.id == identifier and c.engine == engine))
    made = certificate(make_asset(), checks=checks)
    assert made.verdict is Verdict.UNDECIDED and made.missing == (f"{identifier} [{engine}]",)


def test_one_engine_alone_is_not_a_pass():
    made = certificate(make_asset(), engines=ENGINES[:1])
    assert made.verdict is Verdict.UNDECIDED and made.missing == ("engine pybullet",)


def test_a_body_without_evidence_is_not_a_pass():
    made = certificate(make_asset(two_bodies(JointKind.FIXED)))
    assert made.verdict is Verdict.UNDECIDED and "G1 [lid]" in made.missing


def test_a_fallback_is_at_best_a_warning():
    asset = make_asset()
    assert certificate(asset, fallbacks=("remeshed",)).verdict is Verdict.WARN
    failed = (*complete_checks(), Check("G1", "x", np.nan, "1", 1.0))
    assert certificate(asset, checks=failed, fallbacks=("remeshed",)).verdict is Verdict.FAIL


def test_certificate_round_trip_and_tampering(tmp_path):
    odd = Check("D3", "time", np.nan, "s", 1.0, undecided=True, engine="mujoco")
    made = certificate(make_asset(), checks=(*complete_checks(), odd))
    path = tmp_path / made.file_name
    path.write_bytes(certificate_bytes(made))
    again = load_certificate(path)
    assert again.verdict is made.verdict and certificate_bytes(again) == path.read_bytes()
    assert made.file_name == "certificate_v5_mujoco-4.0.0_pybullet-3.2.7.json"
    path.write_bytes(path.read_bytes().replace(b'"verdict": "UNDECIDED"', b'"verdict": "PASS"', 1))
    with pytest.raises(AssetError, match="digest"):
        load_certificate(path)


# ---- files -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Asset, Path]:
    asset = make_asset()
    return asset, write_asset(asset, certificate(asset), tmp_path_factory.mktemp("out")).folder


def test_written_asset_loads_back_to_the_same_doubles(written):
    asset, folder = written
    again = load_asset(folder)
    assert folder.name == asset.asset_id == again.asset_id and folder.parent.name == asset.asset_id[:2]
    assert np.array_equal(again.model.root.inertial.inertia, asset.model.root.inertial.inertia)
    assert again.provenance == asset.provenance
    assert np.array_equal(again.rest_poses[0].X_WB.position, asset.rest_poses[0].X_WB.position)
    for ours, theirs in zip(asset.volumes, again.volumes, strict=True):
        assert np.array_equal(ours.values, theirs.values) and ours.origin == theirs.origin
    certificates = list(folder.glob("certificate_*.json"))
    assert len(certificates) == 1
    read = load_certificate(certificates[0])
    assert read.verdict is Verdict.PASS and {"X1", "X2", "X3", "X4"} <= {check.id for check in read.checks}


def test_same_asset_gives_the_same_bytes(written, tmp_path):
    asset, folder = written
    assert tree_bytes(write_asset(make_asset(), certificate(asset), tmp_path).folder) == tree_bytes(folder)


def test_no_leftovers_and_a_second_certificate_joins(tmp_path):
    asset = make_asset()
    folder = write_asset(asset, certificate(asset), tmp_path).folder
    newer = certificate(asset, engines=(("mujoco", "4.1.0"), ENGINES[1]))
    assert write_asset(asset, newer, tmp_path).folder == folder
    assert len(list(folder.glob("certificate_*.json"))) == 2
    assert [path.name for path in folder.parent.iterdir()] == [asset.asset_id]


@pytest.mark.parametrize("name", ["model.xml", "collision/hull_001.obj", "volume.npz", "asset.json", "thumb.png"])
def test_changed_file_is_named(written, tmp_path, name):
    asset, whole = written
    folder = tmp_path / "assets" / asset.asset_id[:2] / asset.asset_id
    shutil.copytree(whole, folder)
    data = bytearray((folder / name).read_bytes())
    at = data.index(b"7") if name == "asset.json" else len(data) // 2
    data[at] = ord("8") if data[at] != ord("8") else ord("9")
    (folder / name).write_bytes(data)
    with pytest.raises(AssetError, match=Path(name).name):
        load_asset(folder)
    if name == "model.xml":  # nor is it taken for the same asset when that is written again: it is replaced
        write_asset(asset, certificate(asset), tmp_path)
        assert tree_bytes(folder) == tree_bytes(whole)


def test_of_two_items_with_the_same_asset_the_first_owns_the_folder(tmp_path):
    """Drops depend on the item, so that two items tell different stories of one body; no mixture of them stays."""
    from scenegen.assets.build import CertifiedAsset
    from scenegen.assets.publish import PublishConfig, find_damage, publish

    config = PublishConfig(str(tmp_path))
    made = [make_asset(provenance=Provenance("test", 7, f"object_{number}")) for number in range(2)]
    certified = [CertifiedAsset(asset, certificate(asset), 1.0) for asset in made]
    first, second = (publish(one, config) for one in certified)
    assert first.folder == second.folder and first.digest != second.digest
    assert "not what was written for this item" in find_damage(first, tmp_path)
    assert publish(certified[0], config) == first
    assert not find_damage(first, tmp_path)


def test_missing_and_unknown_files_are_named(written, tmp_path):
    folder = shutil.copytree(written[1], tmp_path / "copy")
    (folder / "collision" / "hull_999.obj").write_text("")
    with pytest.raises(AssetError, match="hull_999"):
        verify_files(folder)
    (folder / "collision" / "hull_999.obj").unlink()
    (folder / "model.urdf").unlink()
    with pytest.raises(AssetError, match=r"model\.urdf: is missing"):
        verify_files(folder)


def test_certificate_of_another_asset_is_refused(tmp_path):
    with pytest.raises(AssetError, match="certificate is of asset"):
        write_asset(make_asset(), certificate(make_asset(), asset_id="0" * 32), tmp_path)


def test_obj_with_normals_reads_back_to_the_same_doubles(tmp_path):
    from physics.mesh_io import write_obj

    sphere = trimesh.creation.icosphere(2)
    mesh = Mesh(np.asarray(sphere.vertices) / 3, np.asarray(sphere.faces), np.asarray(sphere.vertices))
    write_obj(mesh, tmp_path / "a.obj")
    again = read_obj(tmp_path / "a.obj")
    assert np.array_equal(again.vertices, mesh.vertices) and np.array_equal(again.faces, mesh.faces)
    assert again.normals is not None and np.array_equal(again.normals, mesh.normals)


@pytest.mark.parametrize(
    ("text", "stray"),
    [
        ("o name\nv 0 0 0\n", "o name"),
        ("v 0 0 0\nv 1 2\n3 v 4 5 6\n", "v 1 2"),
        ("v 0 0 0 v 1 1 1\n\n", "v 0 0 0 v 1 1 1"),
        ("v 0 0 0\nf 1 1 1\nv 1 1 1\n", "f 1 1 1"),
        ("v 0 0 0\n\nf 1 1 1\n", ""),
    ],
)
def test_an_obj_of_others_is_refused(tmp_path, text, stray):
    (tmp_path / "a.obj").write_text(text)
    with pytest.raises(AssetError, match=re.escape(f"{stray!r} is not a line that scenegen writes")):
        read_obj(tmp_path / "a.obj")


# ---- formats ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.05, 1.0, 8.0])
def test_every_format_gives_back_small_and_large_assets(tmp_path, scale):
    staged = stage_asset(make_asset(Model("hammer", (hammer(scale),))), tmp_path)
    checks = read_back(staged)
    assert {check.id for check in checks} == {"X1", "X2", "X3", "X4"}
    assert [check.describe() for check in checks if check.verdict is not Verdict.PASS] == []


@pytest.mark.parametrize("kind", list(JointKind))
def test_tree_with_a_joint_is_the_same_in_both_engines(tmp_path, kind):
    import mujoco
    import pybullet

    model = two_bodies(kind)
    staged = stage_asset(make_asset(model), tmp_path)
    failed = [check.describe() for check in read_back(staged) if check.verdict is not Verdict.PASS]
    # MuJoCo merges nothing: a body without a joint stays a body of its own.
    assert failed == []
    coordinate = 0.0 if kind is JointKind.FIXED else 0.4
    loaded = mujoco.MjModel.from_xml_path(str(staged / "model.xml"))
    data = mujoco.MjData(loaded)
    if kind is not JointKind.FIXED:
        data.qpos[loaded.joint("hinge").qposadr[0]] = coordinate
        assert np.allclose(loaded.joint("hinge").range, [-0.2, 1.0])
    mujoco.mj_kinematics(loaded, data)
    X_WL = Pose.from_quaternion(data.body("lid").xquat, data.body("lid").xpos)
    client = pybullet.connect(pybullet.DIRECT)
    try:
        flags = pybullet.URDF_USE_INERTIA_FROM_FILE
        handle = pybullet.loadURDF(str(staged / "model.urdf"), flags=flags, physicsClientId=client)
        com = model.root.inertial.com  # Bullet's base frame is the inertial one; put the link's frame at the origin
        principal = pybullet.getDynamicsInfo(handle, -1, physicsClientId=client)
        pybullet.resetBasePositionAndOrientation(handle, com, principal[4], physicsClientId=client)
        pybullet.resetJointState(handle, 0, coordinate, physicsClientId=client)
        state = pybullet.getLinkState(handle, 0, computeForwardKinematics=True, physicsClientId=client)
    finally:
        pybullet.disconnect(client)
    X_bullet = Pose.from_quaternion(np.array([state[5][3], *state[5][:3]]), np.array(state[4]))
    # Bullet passes link states on in single precision.
    assert np.abs(X_WL.position - X_bullet.position).max() < 1e-6
    assert X_WL.angle_to(X_bullet) < 1e-6
    at_zero = next(node.X_MB for node in walk_tree(model) if node.body.name == "lid")
    assert (X_WL.angle_to(at_zero) > 0.3) == (kind is JointKind.REVOLUTE)


@pytest.mark.parametrize("seed", range(6))
def test_roll_pitch_yaw_turns_back_into_the_rotation(seed):
    pose = Pose.random_rotation(np.random.default_rng(seed))
    if seed == 0:  # gimbal lock
        pose = Pose.from_axis_angle(np.array([0.0, 1.0, 0.0]), np.pi / 2).compose(
            Pose.from_axis_angle(np.array([0.0, 0.0, 1.0]), 0.3)
        )
    roll, pitch, yaw = roll_pitch_yaw(pose)
    x, y, z = np.eye(3)
    again = Pose.from_axis_angle(z, yaw).compose(Pose.from_axis_angle(y, pitch)).compose(Pose.from_axis_angle(x, roll))
    assert again.angle_to(pose) < 1e-7


def test_lost_mass_and_lost_hull_are_found_in_every_engine_file(tmp_path):
    staged = stage_asset(make_asset(), tmp_path)
    xml, urdf = (staged / "model.xml").read_text(), (staged / "model.urdf").read_text()
    mass = repr(float(make_asset().model.root.inertial.mass))
    geom = next(line for line in xml.splitlines() if 'mesh="hull_001"' in line)
    _rewrite(staged, {"model.xml": xml.replace(f'mass="{mass}"', 'mass="1.0"').replace(geom, "")})
    failed = {(check.id, check.name) for check in read_back(staged) if check.verdict is Verdict.FAIL}
    assert {("X1", "mass in MJCF"), ("X1", "collision shapes missing in MJCF")} <= failed
    first = urdf.index("<collision>")
    second = urdf.index("<collision>", first + 1)
    shorter = urdf[:first] + urdf[second:]
    _rewrite(staged, {"model.xml": xml, "model.urdf": shorter.replace(f'value="{mass}"', 'value="1.0"')})
    failed = {(check.id, check.name) for check in read_back(staged) if check.verdict is Verdict.FAIL}
    assert {("X2", "mass in URDF"), ("X2", "collision shapes missing in URDF")} <= failed


def _rewrite(folder: Path, files: dict[str, str]) -> None:
    """Change files together with their hashes, as a faulty writer would."""
    import hashlib

    from scenegen.assets.asset_json import record_digest

    record = json.loads((folder / "asset.json").read_text())
    record.pop("digest")
    for name, text in files.items():
        (folder / name).write_text(text)
        record["files"][name] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "asset.json").write_text(json.dumps({**record, "digest": record_digest(record)}))


def test_glb_is_y_up_with_materials(written):
    asset, folder = written
    scene = trimesh.load_scene(folder / "visual.glb")
    x, y, z = scene.extents
    ours = asset.model.root.extents
    assert np.allclose([x, z, y], ours, atol=1e-6)
    look = {shape.visual.material.name: shape.visual.material for shape in scene.geometry.values()}
    assert look["steel"].metallicFactor == 1.0 and look["beech"].metallicFactor == 0.0


def test_attach_puts_different_assets_into_one_specification():
    import mujoco

    spec = mujoco.MjSpec()
    spec.option.timestep = 0.003
    small, large = make_asset(), make_asset(Model("hammer", (hammer(3.0),)))
    first = attach(spec, small, "small_")
    second = attach(spec, large, "large_", X_WB=Pose.translation(1.0, 0.0, 0.5))
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    assert model.opt.timestep == 0.003 and model.nq == 14
    for body, asset in ((first, small), (second, large)):
        held = model.body(body.name)
        assert held.mass[0] == pytest.approx(asset.model.root.inertial.mass, rel=1e-12)
        geoms = np.flatnonzero((model.geom_bodyid == held.id) & (model.geom_group == 3))
        radii = sorted(model.geom_rbound[geoms])
        expected = sorted(np.linalg.norm(h.mesh.extents) / 2 for h in asset.model.root.hulls)
        assert np.allclose(radii, expected, rtol=1e-5)
    assert np.allclose(data.body(second.name).xpos, [1.0, 0.0, 0.5])
    with pytest.raises(AssetError, match="already has a body"):
        attach(spec, small, "small_")


# ---- manifest --------------------------------------------------------------------------------------------------


def test_manifest_round_trip_and_bytes(tmp_path):
    import pyarrow.parquet as pq

    asset = make_asset()
    rows = [asset_row(asset, certificate(asset), "assets/aa/x")]
    first = write_manifest(rows, tmp_path / "a.parquet").read_bytes()
    assert first == write_manifest(rows, tmp_path / "b.parquet").read_bytes()
    (row,) = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert row["asset_id"] == asset.asset_id and row["verdict"] == "PASS" and row["hull_count"] == 2
    assert row["mass_kg"] == asset.model.root.inertial.mass
    rejection = Rejection("surface", "G3 euler", 2.0, None, "1", "text")
    path = write_rejections([RejectionRow("object_00001", "mug", 3, rejection)], tmp_path / "r.parquet")
    (row,) = pq.read_table(path).to_pylist()
    assert row["limit"] is None and row["reason"] == "G3 euler" and row["value"] == 2.0
    assert pq.read_table(write_manifest([], tmp_path / "empty.parquet")).num_rows == 0
