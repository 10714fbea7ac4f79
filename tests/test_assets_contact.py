"""The delivered MJCF is the body that was verified: friction, contact spring and time step."""

import re
import shutil

import numpy as np
import pytest
import trimesh

from generators.blueprint import Blueprint, BodyBlueprint
from physics.check import Verdict
from physics.drop_record import DropConfig
from physics.mass import integrate_mesh
from physics.materials import find_material
from physics.mesh import Mesh
from physics.model import Body, Hull, Model, Part
from physics.pose import Pose
from scenegen.assets.asset import Asset, Provenance, RestPose
from scenegen.assets.build import AssetRequest, Draft, _record_limits
from scenegen.assets.layout import MODEL_XML
from scenegen.assets.package import stage_asset
from scenegen.assets.readback import ReadbackConfig, _contact_checks, read_back

BOX = trimesh.creation.box((0.1, 0.06, 0.04))


@pytest.fixture
def asset() -> Asset:
    mesh = Mesh(BOX.vertices + np.array([0, 0, 0.02]), BOX.faces)
    part = Part("block", mesh, find_material("beech"))
    body = Body("block", (part,), (Hull(mesh, "block"),), integrate_mesh(mesh, density=part.material.density))
    rest = RestPose(Pose.identity(), 1.0, True, ("mujoco", "pybullet"))
    return Asset(Model("block", (body,)), (), "block", Provenance("test", 0, "block"), (rest,))


def test_the_file_is_the_verified_body(asset, tmp_path):
    checks = [check for check in read_back(stage_asset(asset, tmp_path)) if "as verified" in check.name]
    assert {check.name.split()[0] for check in checks} == {"time", "impratio", "friction", "solref", "solimp", "solmix"}
    assert {check.verdict for check in checks} == {Verdict.PASS}


@pytest.mark.parametrize("field", ["friction", "solref", "solimp", "solmix"])
def test_another_contact_is_another_body(asset, tmp_path, field):
    folder = stage_asset(asset, tmp_path)
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    text = (folder / MODEL_XML).read_text()
    changed = re.sub(rf'{field}="[0-9.e-]+', f'{field}="0.0123', text)
    assert changed != text
    (other / MODEL_XML).write_text(changed)
    checks = _contact_checks(other, asset.model, ReadbackConfig())
    assert [check.name.split()[0] for check in checks if check.verdict is Verdict.FAIL] == [field]


def test_limits_that_are_not_the_published_ones_are_recorded():
    """A run may loosen a limit, but no certificate made under it is a PASS."""
    draft = Draft(AssetRequest("one", 0, "mug"), Blueprint("mug", (BodyBlueprint("mug", ()),)))
    loose = _record_limits(draft, "drop", DropConfig(creep_limit=1.0), DropConfig())
    assert loose.fallbacks == ("drop.creep_limit is 1.0, published is 0.001",)
    assert _record_limits(draft, "drop", DropConfig(), DropConfig()).fallbacks == ()
