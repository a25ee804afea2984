"""`edgeflow key`: the secret that makes machines one cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeflow.cli import screen


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="The cluster key.", no_args_is_help=True)
    group.command("new")(new)
    app.add_typer(group, name="key")


def new(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Written, never overwritten.")],
) -> None:
    """Make a cluster key. Copy it to every node and start each with --key FILE.

    Nodes with the key admit each other and nobody else, and encrypt all tensors between them.
    Whoever can read the file is in: it is readable by you alone, keep it so (chmod 600).
    """
    from edgeflow.io.keys import new_key

    keys = new_key(file)
    screen.say(f"wrote {file}; its public half is {keys.public}")
