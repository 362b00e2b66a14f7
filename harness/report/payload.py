"""Data inside the page: compact JSON, gzipped, as base64 text that no markup can close."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any


def dump(value: Any) -> str:
    """Compact JSON; what is not finite has no place in it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def pack(name: str, text: str) -> str:
    """A text as a data block that the page unpacks; the same text gives the same block."""
    data = base64.b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode("ascii")
    return f'<script type="application/gzip" id="{name}">{data}</script>'


def unpack(data: str) -> str:
    """Inverse of the block's content."""
    return gzip.decompress(base64.b64decode(data)).decode()
