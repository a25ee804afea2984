"""Other programs that a lab is built with: `ip`, `tc`, `nsenter`.

Each failure is a LabError that says which command failed and how; what is missing names its cure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from edgeflow.errors import LabError

TIMEOUT_S = 20.0
"""None of these commands waits for anything."""
NEEDED = {"ip": "iproute2", "tc": "iproute2", "nsenter": "util-linux", "sysctl": "procps"}
"""Program to Debian package."""


def need_tools() -> None:
    """LabError without root or without a program that a lab is built with."""
    if os.geteuid() != 0:
        raise LabError(
            "a lab makes network namespaces and CPU quotas, which needs root:"
            " sudo -E edgeflow lab …"
        )
    for program, package in NEEDED.items():
        if shutil.which(program) is None:
            raise LabError(f"{program} is missing: sudo apt-get install {package}")


def run(*words: str) -> str:
    """Run a command; its output. LabError where it fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"{' '.join(words)}: {error}") from None
    if done.returncode:
        raise LabError(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def batch(program: str, lines: Sequence[str], *options: str) -> None:
    """Run many lines of `ip` or `tc` in one process. LabError names the first that fails."""
    if not lines:
        return
    words = [program, *options, "-batch", "-"]
    text = "\n".join(lines) + "\n"
    done = subprocess.run(
        words, input=text, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    if done.returncode:
        raise LabError(f"{' '.join(words)} of {lines}: {done.stderr.strip()}")


def succeeds(*words: str) -> bool:
    """Whether a command that may fail did what it should."""
    done = subprocess.run(words, capture_output=True, timeout=TIMEOUT_S, check=False)
    return done.returncode == 0
