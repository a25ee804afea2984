"""How figures came to be: on which machine, by which code."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path


def machine() -> str:
    """What this is, and is not."""
    return f"{os.cpu_count()} {platform.machine()} cores at N %; no Pi's caches or SIMD"


def commit() -> str:
    """Of the code that is run."""
    root = Path(__file__).resolve().parents[3]
    words = ["git", "describe", "--always", "--dirty"]
    git = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    return git.stdout.strip() or "unknown"
