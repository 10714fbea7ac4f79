"""How data reaches a page that is opened from disk: as a script that hands it over, named by an identifier."""

from __future__ import annotations

import json
import re
from typing import Any

ID = re.compile(r"[A-Za-z0-9_]{1,100}")
"""What identifiers look like, so that they can name files and stand in addresses."""


def script(function: str, value: Any) -> bytes:
    """Return a script that hands a value to a function of the page.

    Texts in it come from files of strangers: everything beyond ASCII, and "<", is escaped, so that nothing in them can
    end the script or be read as markup, wherever it is put.
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return f"{function}({text.replace('<', chr(92) + 'u003c')});\n".encode("ascii")
