"""What the library offers, as one JSON document: ``python -m ratebp.catalogue``.

The harness's parent process never imports torch, so it learns names, options and digests here.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import ratebp
from ratebp import doors, loading, methods, models, surrogates
from ratebp.doors.output import private_stdout
from ratebp.methods import MethodEntry
from ratebp.ops.backends import preferred


def describe() -> dict[str, Any]:
    """Return the whole catalogue as plain JSON values.

    `path` holds the folders in which this process looks for modules, so that whoever asked can
    follow what a plug-in imports.
    """
    return {
        "version": ratebp.__version__,
        "digest": _library_digest(),
        "methods": [_method(entry) for entry in methods.entries().values()],
        "broken": list(_broken()),
        "models": [_made(models.get(name)) for name in models.names()],
        "data": [_made(entry) for entry in loading.datasets().values()],
        "surrogates": list(surrogates.names()),
        "operators": {kind: _operators(kind) for kind in ("cpu", "cuda")},
        "path": sys.path,
    }


def _operators(kind: str) -> dict[str, str]:
    """Return which operators run on a device where nobody says which."""
    return {
        "eager": preferred(kind),
        "compiled": preferred(kind, compiled=True),
    }


def _method(entry: MethodEntry) -> dict[str, Any]:
    cls, info = entry.cls, entry.cls.info
    return {
        "name": entry.name,
        "label": info.label,
        "family": info.family,
        "memory": info.memory,
        "layout": info.layout,
        "loss": info.loss,
        "updates": info.updates,
        "norms": info.norms,
        "statistics": info.statistics,
        "papers": list(info.papers),
        "summary": (inspect.getdoc(cls) or "").partition("\n")[0],
        "options": {
            f.name: {
                "default": f.default,
                "choices": list(f.metadata["choices"]) if "choices" in f.metadata else None,
                "type": type(f.default).__name__,
            }
            for f in fields(cls)  # type: ignore[arg-type]
        },
        "identities": [str(identity) for identity in cls.identities],
        "source": entry.source,
        "file": str(entry.file.absolute()),
        "digest": entry.digest,
    }


def _made(entry: doors.Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "summary": entry.summary,
        "options": entry.signature.described(),
        "open": entry.signature.open,
        "source": entry.source,
        "file": str(entry.file.absolute()),
    }


def _broken() -> Iterator[dict[str, str]]:
    """Say what could not be loaded, once for each kind of thing that it may have been."""
    kinds = (
        ("methods", methods.broken()),
        ("models", models.broken()),
        ("data", loading.broken_datasets()),
    )
    for kind, broken in kinds:
        for each in broken:
            yield {"kind": kind, "source": each.source, "error": each.error}


def _library_digest() -> str:
    """Return the SHA-256 of the library's source without the methods, which have their own."""
    root = Path(ratebp.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(f for f in root.rglob("*") if f.suffix in (".py", ".cpp", ".h")):
        inside = file.relative_to(root)
        if inside.parts[0] not in ("methods", "testing") or file.name.startswith("_"):
            digest.update(inside.as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def main() -> None:
    """Print the catalogue; what a plug-in prints goes to standard error."""
    with private_stdout() as out:
        json.dump(describe(), out, indent=1)
        out.write("\n")


if __name__ == "__main__":
    main()
