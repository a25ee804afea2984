"""`edgeflow`: the commands put together, and errors turned into one line and an exit code."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, NoReturn

import typer

from edgeflow.cli import screen
from edgeflow.errors import EdgeflowError

GROUPS: tuple[str, ...] = (
    "demo",
    "broker",
    "node",
    "deploy",
    "infer",
    "ledger",
    "status",
    "why",
    "model",
    "plan",
    "key",
    "simulate",
    "rehearse",
    "replay",
    "lab",
)
"""Modules of `edgeflow.cli` in the order of --help; each has `register(app)`."""

EXIT_CODES = (
    "Exit codes: 0 done, 1 a bug of edgeflow, 2 wrong usage, a file or a setting, 3 model or input,"
    " 4 broker, 5 deployment, 6 a frame had no result or a ledger shows a broken promise,"
    " 7 network, port or key, 8 lab, 9 another node has this one's name, 130 interrupted."
    "\n\nEDGEFLOW_DEBUG=1 shows where in the code an error comes from."
)


def create_app() -> typer.Typer:
    """The whole command line. Commands import what is slow (torch) when they run."""
    app = typer.Typer(
        name="edgeflow",
        help="One neural network over all the machines at hand, with the same answer.",
        epilog=EXIT_CODES,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for group in GROUPS:
        import_module(f"edgeflow.cli.{group}").register(app)
    return app


def main() -> None:
    """Entry point of the `edgeflow` command."""
    run(lambda: create_app()())


def run(command: Callable[[], object]) -> NoReturn:
    """Runs a command line to its SystemExit; an error is one line on stderr and its exit code."""
    debug = os.environ.get("EDGEFLOW_DEBUG", "") not in ("", "0")
    # A command says what is wrong itself, in one line; `node start` writes a log.
    logging.getLogger("edgeflow").addHandler(logging.NullHandler())
    try:
        command()
    except EdgeflowError as error:
        if debug:
            raise
        sys.exit(screen.complain(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if debug:
            raise
        text = f"{type(error).__name__}: {error}"
        screen.complain(EdgeflowError(f"a bug of edgeflow: {text} (EDGEFLOW_DEBUG=1 shows where)"))
        sys.exit(1)
    sys.exit(0)


def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            help="Print the version and stop.",
            callback=lambda wanted: _print_version(wanted),
        ),
    ] = False,
) -> None:
    """Options before the command."""


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        number = version("edgeflow-dnn")
    except PackageNotFoundError:
        number = "unknown (not installed)"
    screen.say(f"edgeflow {number}")
    raise typer.Exit
