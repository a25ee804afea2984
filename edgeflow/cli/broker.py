"""`edgeflow broker`: becomes the broker program, which lives in brokers/ and is nobody's import."""

from __future__ import annotations

import os
import sys

import typer

PROGRAM = "edgeflow.brokers.run"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "broker",
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        help=BROKER_HELP,
    )(broker)


BROKER_HELP = """Run an MQTT broker: mosquitto if it is installed, else the embedded one.

On this machine only, unless --bind ADDRESS and --user are given. `edgeflow broker --help` has all
options. Any other MQTT broker will do as well: give the nodes its URL.
"""


def broker(context: typer.Context) -> None:
    """Replace this process, so that signals and the exit code are the broker program's own."""
    sys.stdout.flush()
    command = [sys.executable, "-I", "-m", PROGRAM, *context.args]
    os.execv(sys.executable, command)
