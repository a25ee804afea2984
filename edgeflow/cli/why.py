"""`edgeflow why`: the story of a deployment's plans, each with what it promised and what it kept.

retained history ─▶ one paragraph a change, the newest last ─▶ what runs now, and what may end it
                └─▶ --html: the same with a chart       └─▶ --follow: on and on
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from edgeflow.api import Flow
from edgeflow.cli import client, screen
from edgeflow.cli.options import DEFAULT_BROKER, Broker, Cluster, Insecure, Key
from edgeflow.cli.screen import Json
from edgeflow.leader import wording
from edgeflow.leader.history import JUDGED_FRAMES
from edgeflow.messages import History, PlanChange
from edgeflow.mind.snapshot import DeploymentView
from edgeflow.views.whystory import now, story, watched

HELP = """Tell why a deployment runs as it does.

Each change of its plan, the newest last: when and why, what the old and the new plan were predicted
to take and what frames took under them, what the switch cost, what came of it. Then what runs now,
and what would end it. `predicted` is by the estimates of that moment; `measured` is the median of
the last frames before, and of the first 20 after. The last 20 changes are kept.

  edgeflow why pictures
  edgeflow why pictures --last 3 --html why.html     # the same, with a chart, for a colleague
  edgeflow why pictures --follow                     # go on as plans change
"""

Stage = tuple[str, bool]
"""A plan's id in words, and whether it is known what came of it."""


def register(app: typer.Typer) -> None:
    """Adds `why`."""
    app.command("why", help=HELP)(why)


def why(
    deployment: Annotated[
        str, typer.Argument(metavar="[DEPLOYMENT]", help="Default: the only one.")
    ] = "",
    last: Annotated[int, typer.Option(min=1, metavar="N", help="Only the last N changes.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page.")] = None,
    broker: Broker = DEFAULT_BROKER,
    cluster: Cluster = "home",
    key: Key = "",
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """See HELP."""
    with client.joined(broker, cluster, key, insecure) as flow:
        view, history = heard(flow, deployment)
        changes = history.changes[-last:]
        if html is not None:
            from edgeflow.views import whypage

            html.write_text(whypage.page(view, changes, time.time()), encoding="utf-8")
            screen.note(f"written to {html}")
        if as_json:
            screen.emit_json(as_data(view, changes))
        else:
            tell(view, changes)
        if follow:
            _follow(flow, view.name, history, as_json)


def heard(flow: Flow, name: str) -> tuple[DeploymentView, History]:
    """The deployment, or the only one there is, and its history once both were told; an empty one
    where nobody tells any."""
    name = client.deployment_named(flow, name, "name one of them").name
    until_s = time.monotonic() + client.SETTLE_S
    while True:
        view, history = client.deployment_named(flow, name), history_of(flow, name)
        is_whole = history is not None and view.plan
        if is_whole or time.monotonic() > until_s:
            return view, history or History(name, flow.name, ())
        time.sleep(client.POLL_S)


def history_of(flow: Flow, name: str) -> History | None:
    """As last told; None before that."""
    found: History | None = flow.ask(
        lambda core: getattr(core.parts.deployments.views.get(name), "history", None)
    )
    return found


def as_data(view: DeploymentView, changes: tuple[PlanChange, ...]) -> dict[str, Any]:
    """The object that --json prints; times as in `messages.PlanChange`."""
    return {
        "deployment": view.name,
        "changes": [change_data(change) for change in changes],
        "now": msgspec.to_builtins(view),
        "watched": watched(view),
    }


def change_data(change: PlanChange) -> dict[str, Any]:
    """One change, with the verdict in words."""
    return {**msgspec.to_builtins(change), "verdict": wording.verdict(change)}


def tell(view: DeploymentView, changes: tuple[PlanChange, ...]) -> None:
    """The story, then what is now."""
    screen.say(f"{view.name} ({view.model} from {view.source}, {view.policy})")
    if not changes:
        screen.say("\nno change of its plan was told yet")
    for change in changes:
        screen.say("")
        for line in story(change):
            screen.say(line)
    screen.say("")
    for line in now(view):
        screen.say(line)


def _follow(flow: Flow, name: str, history: History, as_json: bool) -> None:
    """A paragraph for each further change, when it is used and once its outcome is known."""
    told = set[Stage]()
    news(history, told)
    while True:
        time.sleep(client.POLL_S)
        for change in news(history_of(flow, name) or history, told):
            if as_json:
                screen.emit_json(change_data(change))
                continue
            screen.say("")
            for line in story(change):
                screen.say(line)


def news(history: History, told: set[Stage]) -> list[PlanChange]:
    """Changes that are in use, or whose outcome is known, and were not told as such; they are from
    now on."""
    found = []
    for change in history.changes:
        stage = change.plan, change.frames_after >= JUDGED_FRAMES
        if change.switch_s and stage not in told:
            told.add(stage)
            found.append(change)
    return found
