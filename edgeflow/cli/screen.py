"""How every command speaks: results on stdout, all else on stderr, one JSON object on request.

result ──▶ stdout   a table or sentences for people, or with --json one object as the last line
progress, notes, errors ──▶ stderr
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console

from edgeflow.errors import EdgeflowError

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object as the last line, for programs.")
]
"""The option that every command with a result has."""


def out() -> Console:
    """Where results go. Soft-wrapped: a pipe gets whole lines, however narrow it says it is."""
    return Console(soft_wrap=True, highlight=False)


def err() -> Console:
    """Where progress, notes and errors go."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


def say(text: str) -> None:
    """A plain result line; brackets in it are no markup."""
    out().print(text, markup=False)


def note(text: str) -> None:
    """A line beside the result: progress, a hint."""
    err().print(text, markup=False, style="dim")


def emit_json(value: dict[str, Any]) -> None:
    """One object on one line; numbers that JSON lacks (NaN, infinity) are refused by name."""
    typer.echo(json.dumps(value, allow_nan=False, default=str))


def complain(error: EdgeflowError) -> int:
    """The error as one line on stderr; its exit code."""
    line = " ".join(str(error).split())
    err().print(f"[bold red]error:[/] {_plain(line)}")
    return error.exit_code


def _plain(text: str) -> str:
    """Brackets as they are, not as markup."""
    return text.replace("[", r"\[")
