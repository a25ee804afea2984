"""`edgeflow demo`: the whole of edgeflow in one command, on this machine."""

from __future__ import annotations

import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from edgeflow.cli import screen
from edgeflow.cli.screen import Json
from edgeflow.errors import EdgeflowError, UsageError

HELP = """See a real ImageNet network run on five node processes, and survive its leader.

A broker, a camera (this process), three edge nodes and a cloud node start on this machine; a slow
device and a thin up-link are emulated, and labelled. EfficientNet-Lite0 answers real photographs.
Halfway the leader is killed with kill -9. The end is a table: the same frames undivided on each
tier, and as edgeflow planned them. Everything stops with the demo, also on Ctrl-C.

  edgeflow demo                     about three minutes
  edgeflow demo --shelf             the second act: one box against four, about two minutes
  edgeflow demo --json | tail -1    every figure, as one object
  edgeflow demo --stay              the cluster stays, to look around in
  edgeflow demo --model FILE        a model file instead of the export: no torch is needed then

FILE classifies pictures and has a recipe for them; labels it may have. On a machine with torch this
makes the demo's own, and with size=608 that of the second act:

  edgeflow export edgeflow.exporter.zoo:efficientnet_lite0 -o lite0.safetensors --arg size=448

The second act has no cloud: a camera that computes nothing and four equal slow boxes, emulated. The
same photographs go through the best single box and then through all four together, one frame at a
time: each box computes strips of the maps, and they send each other only the rows at the borders.
The screen shows whose strip is whose, and what was predicted and measured. In between one box dies
by kill -9; its frame is tried again, and three boxes go on. --frames is then for each of the runs.
"""
FRAMES, SHELF_FRAMES, FRAMES_MIN = 240, 12, 8
INSTALLS = "scripts/demo installs what the demo needs, or pip install 'edgeflow-dnn[demo,onnx]'"
NETWORK = "edgeflow.exporter.zoo:efficientnet_lite0"
SIZE, SHELF_SIZE = 448, 608
"""Tiles of larger maps read less of each other; the network knows these pictures at both sizes."""


def register(app: typer.Typer) -> None:
    """Adds `demo`."""
    app.command("demo", help=HELP)(demo)


def demo(
    shelf: Annotated[bool, typer.Option("--shelf", help="One box against four, no cloud.")] = False,
    frames: Annotated[
        int | None, typer.Option(min=2, help="Live frames, 240; with --shelf a run, 12.")
    ] = None,
    window: Annotated[int, typer.Option(min=1, max=64, help="Frames under way at once.")] = 2,
    contest_frames: Annotated[int, typer.Option(min=2, help="Frames a contestant.")] = 20,
    size: Annotated[
        int | None,
        typer.Option(min=32, help="Pixels a side of the model's input, 448; with --shelf 608."),
    ] = None,
    stay: Annotated[bool, typer.Option("--stay", help="Keep the cluster until Ctrl-C.")] = False,
    model: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A model file to show, instead of exporting one."),
    ] = None,
    as_json: Json = False,
) -> None:
    """See HELP."""
    _check(shelf, stay, frames, size, model)
    _need(shelf, size, model)
    # These end the demo like Ctrl-C: through every `finally`, so that nothing stays behind.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda got, _: sys.exit(128 + got))
    console = screen.err() if as_json else screen.out()
    if shelf:
        figures = _second_act(console, (frames or SHELF_FRAMES, size or SHELF_SIZE), model, as_json)
    else:
        options = (frames or FRAMES, window, contest_frames, size or SIZE, stay)
        figures = _first_act(console, options, model, as_json)
    if as_json:
        screen.emit_json(figures)
    if figures["errors"] or figures["lost"] or figures["duplicates"] or figures["mismatches"]:
        raise EdgeflowError("not every frame had its one right result; the figures say which")


def _check(
    shelf: bool, stay: bool, frames: int | None, size: int | None, model: Path | None
) -> None:
    """UsageError where options do not go together."""
    if shelf and stay:
        raise UsageError("--stay is for the first act: leave out --shelf or --stay")
    if not shelf and frames is not None and frames < FRAMES_MIN:
        raise UsageError(f"--frames {frames}: the first act needs {FRAMES_MIN} or more")
    if model is not None and size is not None:
        raise UsageError("the model file says how large its pictures are: leave out --size")


def _need(shelf: bool, size: int | None, model: Path | None) -> None:
    """UsageError, with the cure, where something is not installed."""
    from edgeflow.executors import engines

    for package in ("skimage", "sklearn"):
        if find_spec(package) is None:
            raise UsageError(f"the photographs of {package} are missing: {INSTALLS}")
    if not engines():
        raise UsageError(f"no engine is installed: {INSTALLS}")
    if model is not None:
        return
    if "torch" not in engines():
        act, pixels = (" --shelf", SHELF_SIZE) if shelf else ("", SIZE)
        raise UsageError(
            "no torch here to export the demo's network: on a machine with torch run `edgeflow"
            f" export {NETWORK} -o lite0.safetensors --arg size={size or pixels}`, then here"
            f" `edgeflow demo{act} --model lite0.safetensors`"
        )
    if find_spec("efficientnet_lite_pytorch") is None:
        raise UsageError(f"efficientnet_lite_pytorch is missing: {INSTALLS}")


def _first_act(
    console: Console,
    options: tuple[int, int, int, int, bool],
    model: Path | None,
    as_json: bool,
) -> dict[str, Any]:
    # Late: no other command has a use for engines and pictures.
    from edgeflow.demo.show import Show
    from edgeflow.demo.story import Options, tell

    with Show(console, console.is_terminal and not as_json) as show:
        figures = tell(Options(*options, model), show)
    if not as_json:
        screen.say(
            "\nLook further: scripts/demo --stay, then in another terminal\n"
            "  .venv/bin/edgeflow status --broker mqtt://127.0.0.1:1884"
        )
    return figures


def _second_act(
    console: Console, options: tuple[int, int], model: Path | None, as_json: bool
) -> dict[str, Any]:
    from edgeflow.demo.shelfshow import ShelfShow
    from edgeflow.demo.shelfstory import ShelfOptions, tell

    show = ShelfShow(console, console.is_terminal and not as_json)
    with show:
        return tell(ShelfOptions(*options, model=model), show)
