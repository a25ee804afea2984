"""`edgeflow demo`: the whole of edgeflow in one command, on this machine."""

from __future__ import annotations

import signal
import sys
from importlib.util import find_spec
from typing import Annotated

import typer

from edgeflow.cli import screen
from edgeflow.cli.screen import Json
from edgeflow.errors import EdgeflowError, UsageError

HELP = """See a real ImageNet network run on five node processes, and survive its leader.

A broker, a camera (this process), three edge nodes and a cloud node start on this machine; a slow
device and a thin up-link are emulated, and labelled. EfficientNet-Lite0 answers real photographs.
Halfway the leader is killed with kill -9. The end is a table: the same frames undivided on each
tier, and as edgeflow planned them. Everything stops with the demo, also on Ctrl-C.

  edgeflow demo                     about three minutes
  edgeflow demo --json | tail -1    every figure, as one object
  edgeflow demo --stay              the cluster stays, to look around in
"""


def register(app: typer.Typer) -> None:
    """Adds `demo`."""
    app.command("demo", help=HELP)(demo)


def demo(
    frames: Annotated[int, typer.Option(min=8, help="Live frames.")] = 240,
    window: Annotated[int, typer.Option(min=1, max=64, help="Frames under way at once.")] = 2,
    contest_frames: Annotated[int, typer.Option(min=2, help="Frames a contestant.")] = 20,
    size: Annotated[int, typer.Option(min=32, help="Pixels a side of the model's input.")] = 448,
    stay: Annotated[bool, typer.Option("--stay", help="Keep the cluster until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """See HELP."""
    for package in ("torch", "efficientnet_lite_pytorch", "skimage", "sklearn"):
        if find_spec(package) is None:
            raise UsageError(f"{package} is missing; scripts/demo installs what the demo needs")
    # Late: no other command has a use for engines and pictures.
    from edgeflow.demo.show import Show
    from edgeflow.demo.story import Options, tell

    # These end the demo like Ctrl-C: through every `finally`, so that nothing stays behind.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda got, _: sys.exit(128 + got))
    console = screen.err() if as_json else screen.out()
    is_live = console.is_terminal and not as_json
    with Show(console, is_live) as show:
        figures = tell(Options(frames, window, contest_frames, size, stay), show)
    if as_json:
        screen.emit_json(figures)
    else:
        screen.say(
            "\nLook further: scripts/demo --stay, then in another terminal\n"
            "  .venv/bin/edgeflow status --broker mqtt://127.0.0.1:1884"
        )
    if figures["errors"] or figures["lost"] or figures["duplicates"] or figures["mismatches"]:
        raise EdgeflowError("not every frame had its one right result; the figures say which")
