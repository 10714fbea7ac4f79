"""Errors of the scenegen package: a broken contract, a user's mistake or a broken machine; never a bad asset."""


class ScenegenError(Exception):
    """Base of every error raised by `scenegen`; its text is complete enough to be shown without a traceback."""


class ConfigError(ScenegenError):
    """A configuration that cannot be run as it is written."""


class CodecError(ScenegenError):
    """A record that cannot be written, or bytes that do not hold the record they should."""


class StoreError(ScenegenError):
    """The store cannot be read or written: wrong path, no permission, full disk."""


class CorruptRecordError(StoreError):
    """A file of the store does not hold what its name says; the result is computed again."""


class StageError(ScenegenError):
    """A stage that is declared wrongly, or a stage function that broke its contract."""


class ExecutorError(ScenegenError):
    """An executor could not start, reach its cluster or place its workers."""


class AssetError(ScenegenError):
    """An asset that cannot be packaged or loaded."""


class SceneError(ScenegenError):
    """A scene that cannot be composed, written or loaded."""


class ReportError(ScenegenError):
    """A picture or a report that cannot be made."""
