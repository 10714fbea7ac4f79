"""One walk over the tree of bodies, shared by every writer, reader and picture."""

from __future__ import annotations

from dataclasses import dataclass

from physics.model import Body, Joint, Model
from physics.pose import Pose


@dataclass(frozen=True, eq=False)
class Node:
    """A body at its place in the tree."""

    body: Body
    joint: Joint | None
    """Joint to the parent, None for the root."""
    X_MB: Pose
    """Pose in the model's frame with every joint coordinate at 0."""
    children: tuple[str, ...]
    """Names of the child bodies, in the order of the model's joints."""


def walk_tree(model: Model) -> tuple[Node, ...]:
    """Return the bodies of a model, every parent before its children."""
    joint_of = {joint.child: joint for joint in model.joints}
    bodies = {body.name: body for body in model.bodies}
    nodes: list[Node] = []
    waiting = [(model.root.name, Pose.identity())]
    while waiting:
        name, X_MB = waiting.pop(0)
        joints = [joint for joint in model.joints if joint.parent == name]
        nodes.append(Node(bodies[name], joint_of.get(name), X_MB, tuple(joint.child for joint in joints)))
        waiting[:0] = [(joint.child, X_MB.compose(joint.X_PC)) for joint in joints]
    return tuple(nodes)
