"""What a verification leaves for the next one: its options, and the certificate of every file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scenegen.assets.certificate import certificate_bytes, load_certificate
from scenegen.config_records import read_record
from scenegen.errors import AssetError
from scenegen.pipeline.store import explained, write_atomic
from scenegen.verification.request import VerifyOptions
from scenegen.verification.verified import VerifiedFile

EVIDENCE = "evidence.json"
"""File in the output folder of a verification."""
CERTIFICATES = "certificates"
"""Folder beside it."""
SCHEMA = 2
"""Version of the layout of evidence.json."""


def write_evidence(found: Sequence[VerifiedFile], options: VerifyOptions, out: Path) -> Path:
    """Write evidence.json and the certificates, in the place of those that were there.

    Raises:
        StoreError: The folder cannot be written.
    """
    folder, rows = out / CERTIFICATES, []
    with explained(folder, "write"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for number, file in enumerate(found):
            row: dict[str, Any] = {"path": str(file.path.absolute()), "reason": file.reason, "certificate": ""}
            row["draft"] = file.draft
            if file.certificate is not None:
                row["certificate"] = f"{CERTIFICATES}/file_{number:05d}.json"
                (out / row["certificate"]).write_bytes(certificate_bytes(file.certificate))
            rows.append(row)
        content = {"schema": SCHEMA, "options": asdict(options), "files": rows}
        write_atomic(out / EVIDENCE, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    return out / EVIDENCE


def read_evidence(out: Path) -> tuple[list[VerifiedFile], VerifyOptions]:
    """Return the files of a verification with their certificates, and its options.

    Raises:
        AssetError: The file or a certificate is damaged.
        ConfigError: An option that no longer exists.
    """
    path = out / EVIDENCE
    try:
        content = json.loads(path.read_bytes())
        if content["schema"] != SCHEMA:
            raise AssetError(f"{path}: not the evidence of schema {SCHEMA}")
        options = read_record(content["options"], VerifyOptions, source=str(path))
        found = [
            VerifiedFile(
                Path(row["path"]),
                load_certificate(out / row["certificate"]) if row["certificate"] else None,
                row["reason"],
                draft=row["draft"],
            )
            for row in content["files"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AssetError(f"{path}: cannot be read: {type(error).__name__}: {error}; verify the files again") from error
    return found, options
