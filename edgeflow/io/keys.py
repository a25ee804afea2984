"""The cluster key: one file, the same on every node, and whoever holds it belongs to the cluster.

It holds one CURVE key pair that every node uses both as server and as client. A node admits exactly
the public half of it and expects it of everyone it dials, so both ends of every link have proved
that they hold the secret. Names are not proved beyond that: nodes of one cluster trust each other.

Invariant: a key file is readable by its owner alone, or it is not used.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import zmq

from edgeflow.errors import UsageError

_MARK = "edgeflow-key-1"
_TEXT = """\
# Cluster key of edgeflow. Copy it to every node of the cluster, and to nobody else.
{mark} {secret}
"""


@dataclass(frozen=True, slots=True)
class Keys:
    """The cluster's CURVE key pair, in Z85."""

    public: str
    secret: str = field(repr=False)


def new_key(path: Path) -> Keys:
    """Write a new cluster key, readable by its owner alone; UsageError where the file exists."""
    _public, secret = zmq.curve_keypair()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise UsageError(
            f"{path} exists: a new key would shut out every node that has the old one;"
            " name another file, or remove it first"
        ) from error
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(_TEXT.format(mark=_MARK, secret=secret.decode()))
    return load_keys(path)


def load_keys(path: Path) -> Keys:
    """Read a cluster key; UsageError where it is missing, open to others, or no key."""
    try:
        if path.stat().st_mode & 0o077:
            raise UsageError(f"{path} can be read by others: run `chmod 600 {path}`")
        text = path.read_text(encoding="ascii")
    except FileNotFoundError as error:
        raise UsageError(
            f"no key file {path}: copy it from another node, or make the cluster's first one with"
            f" `edgeflow key new {path}`"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the key file {path}: {error}") from error
    for line in text.splitlines():
        mark, _, secret = line.strip().partition(" ")
        if mark == _MARK and len(secret) == 40:
            return _keys(path, secret)
    raise UsageError(f"{path} is no cluster key: make one with `edgeflow key new FILE`")


def _keys(path: Path, secret: str) -> Keys:
    try:
        return Keys(zmq.curve_public(secret.encode()).decode(), secret)
    except (ValueError, zmq.ZMQError) as error:
        raise UsageError(f"{path} is damaged: copy it again from another node") from error
