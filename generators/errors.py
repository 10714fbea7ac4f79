"""Errors of the generators package."""


class GeneratorError(Exception):
    """Base of every error raised by `generators`."""


class VolumeError(GeneratorError):
    """A sparse volume that breaks its invariants."""


class ParameterError(GeneratorError):
    """Parameters from which a family cannot make a solid."""


class FamilyError(GeneratorError):
    """An unknown object family."""


class BackendError(GeneratorError):
    """A backend that is not installed, or does not run where it was asked for."""


class DatasetError(GeneratorError):
    """A data set that cannot be made or read."""


class CheckpointError(GeneratorError):
    """A checkpoint that is missing, damaged or of another model."""


class TrainingError(GeneratorError):
    """A training run that cannot go on: other data or settings than it was begun with, divergence, or no memory."""
