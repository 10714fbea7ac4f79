"""Drafts that a run or a verification left in its store, also those that another version of scenegen wrote."""

from __future__ import annotations

from scenegen.assets.build import Draft
from scenegen.errors import CorruptRecordError
from scenegen.pipeline.store import Store

SHAPE = ("request", "model", "symmetry_axis")
"""Fields of a draft that seldom change from version to version, and that a page shows without the others."""


def load_draft(store: Store, digest: str) -> Draft | None:
    """Return a draft; of one that another version wrote its shape alone; None where not even that can be read."""
    try:
        return store.load(digest, Draft)
    except CorruptRecordError:
        pass
    try:
        fields = store.load_fields(digest, Draft, SHAPE)
    except CorruptRecordError:
        return None
    return Draft(fields["request"], None, model=fields["model"], symmetry_axis=fields["symmetry_axis"])
