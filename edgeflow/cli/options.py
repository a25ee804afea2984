"""Options that several commands share, and the node that a command becomes while it runs.

A command that looks at or changes a cluster *is* a node for a moment: it computes nothing, leads
nothing, nobody has to reach it, and it is gone when the command ends.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from edgeflow.config import NodeConfig
from edgeflow.errors import UsageError
from edgeflow.io import settings

DEFAULT_BROKER = "mqtt://127.0.0.1:1883"

Broker = Annotated[
    str,
    typer.Option(
        "--broker",
        envvar="EDGEFLOW_BROKER",
        help="Where the MQTT broker is: mqtt://host:1883, mqtts://user:password@host:8883.",
    ),
]
Cluster = Annotated[
    str,
    typer.Option(
        "--cluster", envvar="EDGEFLOW_CLUSTER", help="Clusters on one broker do not see each other."
    ),
]
Key = Annotated[
    str,
    typer.Option(
        "--key",
        envvar="EDGEFLOW_KEY",
        help="The cluster key file (edgeflow key new); empty: loopback only.",
    ),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Unencrypted links off this machine, without a key.")
]


def visitor(broker: str, cluster: str, key: str, insecure: bool) -> NodeConfig:
    """The settings of a command's own node."""
    host = "".join(c if c.isalnum() or c == "-" else "-" for c in socket.gethostname())[:40]
    return settings.convert(
        {
            "name": f"cli-{host.strip('-') or 'host'}-{os.getpid()}",
            "tier": "device",
            "brokers": [broker],
            "cluster": cluster,
            "key_file": key,
            "insecure": insecure,
            "compute": "none",
            "can_lead": False,
            "reachable": False,
            "tensors_port": 0,
            "signals_port": 0,
        },
        "command line",
    )


def existing(path: Path, what: str) -> Path:
    """The path, or a UsageError that says what is not there."""
    if not path.is_file():
        raise UsageError(f"{path}: no such {what}")
    return path
