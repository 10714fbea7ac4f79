"""Errors of the physics package: a broken contract or machine, never a bad asset (that is a failed check)."""


class PhysicsError(Exception):
    """Base of every error raised by `physics`."""


class MeshError(PhysicsError):
    """A mesh breaks the contract of the function it was given to."""


class MassError(PhysicsError):
    """A mass, centre of mass or inertia that no rigid body can have."""


class ModelError(PhysicsError):
    """A tree of bodies and joints that is not well formed."""


class MaterialError(PhysicsError):
    """An unknown material, or a property outside its range."""


class HullError(PhysicsError):
    """A convex decomposition was asked for with options that mean nothing."""


class EngineError(PhysicsError):
    """An engine could not load or advance a world."""


class IsolationError(PhysicsError):
    """Native code in a child process crashed, hung or ran out of memory."""
