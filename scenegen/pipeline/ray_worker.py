"""The actor that runs stage calls, and refuses where it would make something else than the driver asked for."""

from __future__ import annotations

import pickle
import socket
import sys

from scenegen.arithmetic import arithmetic_digest
from scenegen.errors import StoreError
from scenegen.pipeline.attempt import Attempt, Attempter
from scenegen.pipeline.stage import Stage
from scenegen.pipeline.store import Store
from scenegen.provenance import code_digest


class Worker:
    """Makes attempts, one at a time, in a child process of its own.

    Args:
        root: Folder of the store.
        store_name: Name that the driver found there.
        code: Digest of the driver's code, libraries and arithmetic.
        arithmetic: The last of these by itself.
        stages: The chain, pickled.
        paths: Where the driver imports from.
    """

    def __init__(self, root: str, store_name: str, code: str, arithmetic: str, stages: bytes, paths: list[str]):
        sys.path.extend(path for path in paths if path not in sys.path)
        self._trouble = ""
        if arithmetic != arithmetic_digest():
            self._trouble = (
                f"the worker on {socket.gethostname()} rounds otherwise than this process, as another kind of "
                "processor does, and its bytes would differ: use machines of one kind, or set the variables that "
                "docs/cluster.md names on all of them"
            )
            return
        if code != code_digest():
            self._trouble = (
                f"the worker on {socket.gethostname()} has other code or libraries than this process "
                f"({code_digest()[:8]} there, {code[:8]} here): install the same on every machine, best from one image"
            )
            return
        self._stages: tuple[Stage, ...] = pickle.loads(stages)  # after the paths: it imports the stages' types
        try:
            store = Store(root, create=False)
            self._attempter = Attempter(store)
            if store.name != store_name:
                self._trouble = f"{root} holds another store there"
        except StoreError as error:
            self._trouble = str(error)
        if self._trouble:
            self._trouble = (
                f"the worker on {socket.gethostname()} cannot see the store: {self._trouble}. On a cluster --out must "
                "be a folder that all machines share"
            )

    def ready(self) -> str:
        """Return what keeps this actor from working, or nothing."""
        return self._trouble

    def attempt(self, index: int, input_digest: str, fresh: bool) -> Attempt:
        """Run one stage call."""
        return self._attempter.attempt(self._stages[index], input_digest, fresh=fresh)
