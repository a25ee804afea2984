"""`edgeflow replay`: what a node heard in the field, once more through the same core."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from edgeflow.cli import screen
from edgeflow.cli.screen import Json
from edgeflow.errors import EdgeflowError

if TYPE_CHECKING:
    from edgeflow.mind.eventlog import Found
    from edgeflow.mind.replay import Difference, Replay

HELP = """Run a node's event log through the same code again.

A node started with --event-log FILE (or the setting event_log) writes down all that its core hears,
and a check of what the core did about it. Here a new core hears the same at the same times. It must
do the same; where it does not, the first difference is shown: the code has changed since, or it
depends on something that it must not depend on.

  edgeflow replay cam-1.events
  edgeflow replay cam-1.events --show elections
  edgeflow replay cam-1.events --show "frame 17"

Exit code: 0 the same, 1 a difference, 2 no event log or a damaged one.
"""
SHOW_HELP = "elections, plans, or `frame N`: each event that matters to it, with its time."
LINE_CHARS = 200


def register(app: typer.Typer) -> None:
    """Adds `replay`."""
    app.command("replay", help=HELP)(replay)


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Of --event-log.")],
    until: Annotated[
        float, typer.Option(metavar="SECONDS", help="Stop so long after the first event.")
    ] = float("inf"),
    show: Annotated[str, typer.Option(help=SHOW_HELP)] = "",
    as_json: Json = False,
) -> None:
    """See HELP."""
    from edgeflow.io.eventlog import view
    from edgeflow.mind.eventlog import EventLogError, read
    from edgeflow.mind.replay import Replay
    from edgeflow.views.replayviews import view_of

    found = Replay()
    look = view_of(show)
    lines: list[dict[str, Any]] = []
    if look is not None:
        tell: Callable[[dict[str, Any]], None] = lines.append if as_json else _say
        found.seen = lambda moment: _each(tell, look(moment))
    try:
        found.run(_named(file, read(view(file))), until)
    except EventLogError as error:
        if not found.events:
            raise
        _tell(found, file, lines, as_json)
        raise EventLogError(f"{error}; the {found.events} events before it are good") from None
    _tell(found, file, lines, as_json)
    if found.difference is not None:
        raise typer.Exit(1)


def _each(tell: Callable[[dict[str, Any]], None], lines: Iterator[dict[str, Any]]) -> None:
    for line in lines:
        tell(line)


def _named(file: Path, records: Iterator[Found]) -> Iterator[Found]:
    """The records; an error names the file."""
    from edgeflow.mind.eventlog import EventLogError

    try:
        yield from records
    except EdgeflowError as error:
        raise EventLogError(f"{file}: {error}") from None


def _say(line: dict[str, Any]) -> None:
    screen.say(f"{line['at_s']:10.3f} s  {line['number']:7}  {line['what']}"[:LINE_CHARS])


def _tell(found: Replay, file: Path, lines: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        screen.emit_json(_as_data(found, lines))
        return
    head = found.head
    table = Table(box=None, show_header=False, pad_edge=False)
    node = f"{head.caps.node}, {head.caps.tier.name}, session {head.caps.session}" if head else ""
    kinds = ", ".join(f"{count} {kind}" for kind, count in found.kinds.most_common())
    for name, value in (
        ("log", f"{file}, begun {head.begun if head else ''}"),
        ("node", node),
        ("software", _software(head.software if head else "")),
        ("events", f"{found.events} in {found.span_s:.3f} s: {kinds}"),
        ("end", found.ended),
        ("promises", "; ".join(found.violations[:5]) or "none broken that one node can show"),
        ("effects", _verdict(found)),
    ):
        table.add_row(name, value)
    screen.out().print(table)
    if found.difference is not None:
        _tell_difference(found.difference)


def _verdict(found: Replay) -> str:
    if found.difference is None:
        return f"the same, of all {found.events} events"
    return f"another, from event {found.difference.number} at {found.difference.at_s:.3f} s on"


def _software(logged: str) -> str:
    from edgeflow.io.eventlog import software

    here = software()
    return logged if logged == here else f"{logged}; this is {here}, which may well act otherwise"


def _tell_difference(difference: Difference) -> None:
    screen.say(f"\nevent {difference.number}: {difference.event!r}"[:1000])
    if difference.error:
        screen.say(f"raises now: {difference.error}")
    for effect in itertools.islice(difference.effects, 20):
        screen.say(f"  asks now for {effect!r}"[:LINE_CHARS])
    if not difference.effects and not difference.error:
        screen.say("  asks now for nothing")


def _as_data(found: Replay, lines: list[dict[str, Any]]) -> dict[str, Any]:
    head, difference = found.head, found.difference
    return {
        "node": head.caps.node if head else "",
        "session": head.caps.session if head else 0,
        "software": head.software if head else "",
        "events": found.events,
        "kinds": dict(found.kinds),
        "span_s": found.span_s,
        "ended": found.ended,
        "violations": found.violations,
        "same": difference is None,
        "difference": None
        if difference is None
        else {
            "number": difference.number,
            "at_s": difference.at_s,
            "event": repr(difference.event)[:1000],
            "error": difference.error,
            "effects": [type(effect).__name__ for effect in difference.effects],
        },
        "shown": lines,
    }
