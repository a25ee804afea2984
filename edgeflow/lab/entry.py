"""A program of ours run inside the lab that is up, beside one of its machines.

words ─▶ the machine's namespace, outside every quota ─▶ waits for its end
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeflow.errors import LabError
from edgeflow.lab import hosts, quota, record


def run_module(
    host: str, words: Sequence[str], log: Path, environ: Mapping[str, str] | None = None
) -> None:
    """Run `python -m` these words; what it says on stderr goes to `log`.

    LabError with its last line where it ends with another code than 0.
    """
    made, quotas = record.need(), quota.find()
    line = quotas.within(hosts.FREE, "exec", hosts.inside(host, [*hosts.PROGRAM, *words]))
    environ = {**hosts.environment(made), **(environ or {})}
    with log.open("wb") as file:
        done = subprocess.run(line, env=environ, check=False, stderr=file)
    if done.returncode != 0:
        said = log.read_text(errors="replace").splitlines()
        last = next((each for each in reversed(said) if each), "nothing")
        raise LabError(f"{words[0]} at {host} ended with {done.returncode}, and said: {last}")
