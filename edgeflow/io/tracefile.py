"""Bandwidth traces on disk."""

from __future__ import annotations

from pathlib import Path

from edgeflow.errors import UsageError
from edgeflow.traces import Trace, parse


def read(path: Path) -> Trace:
    """The trace in a CSV file; UsageError names what is wrong in it, and where."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; examples lie in configs/traces") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(path)!r}: cannot be read ({error})") from None
    return parse(text, str(path))
