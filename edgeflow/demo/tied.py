"""A program that ends with the process that started it, however that ends (prctl(2), Linux).

    python -m edgeflow.demo.tied PARENT_PID MODULE [OPTIONS]

The program ties itself, instead of being tied between fork and exec: that would run Python in a
copy of a process with threads, and swallow a Ctrl-C that comes just then.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

PR_SET_PDEATHSIG = 1


def run(parent: int, module: str, options: list[str]) -> None:
    """Run `module` as if `python -m` had; SIGTERM comes when `parent` dies."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit("the program that started this one has died")
    sys.argv = [module, *options]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    run(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
