"""`edgeflow status`, `events`, `node list`, `node drain`: look at a cluster; ask a node to go."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgeflow.cli import client, screen
from edgeflow.cli.options import DEFAULT_BROKER, Broker, Cluster, Insecure, Key
from edgeflow.cli.screen import Json
from edgeflow.layout.placement import with_engines
from edgeflow.mind.snapshot import DeploymentView, LinkView, NodeView, Snapshot
from edgeflow.views.tilefacts import by_segment
from edgeflow.views.tilemap import TileMaps

STATUS_HELP = """Show nodes, leader, deployments and links, as they are now.

A deployment's line is its plan: which layers run where. `predicted` is what a frame should take,
`bound` what no plan could beat under the same estimates. What is prepared stands below: `without` a
node that is lost, and `if` something changes so far that another plan is better. Where layers are
tiled each map is drawn, a colour a node, with predicted and measured times.
"""
EVENTS_HELP = """Follow what happens to deployments, in sentences: plans and why they change.

Runs until Ctrl-C, or for --seconds. With --json each line is an object.
"""


def register(app: typer.Typer) -> None:
    """Adds `status` and `events`."""
    app.command("status", help=STATUS_HELP)(status)
    app.command("events", help=EVENTS_HELP)(events)


def status(
    broker: Broker = DEFAULT_BROKER,
    cluster: Cluster = "home",
    key: Key = "",
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """See STATUS_HELP."""
    with client.joined(broker, cluster, key, insecure) as flow:
        snapshot = client.settled(flow)
    if as_json:
        screen.emit_json(as_data(snapshot))
        return
    console = screen.out()
    leader = f"{snapshot.leader} leads (term {snapshot.term})" if snapshot.leader else "no leader"
    screen.say(f"cluster {cluster} at {broker}: {leader}")
    console.print(nodes_table(client.others_of(snapshot)))
    for each in snapshot.deployments:
        tell_deployment(console, each)
    links = links_between(snapshot)
    if links:
        screen.say("")
        console.print(links_table(links))


def tell_deployment(console: Console, view: DeploymentView) -> None:
    """Its line, its plan's, and its tile maps where it has some."""

    def say(text: str) -> None:
        console.print(text, markup=False)

    say(f"\n{view.name} ({view.model} from {view.source}, {view.policy}): {view.phase}")
    say(f"  {with_engines(view.placement, view.engines) or view.sentence}")
    if view.plan:
        line = f"  plan {view.plan}, predicted {view.predicted_ms:.1f} ms"
        is_proven = view.lower_bound_ms >= view.predicted_ms * 0.999
        say(line + (", optimal" if is_proven else f", bound {view.lower_bound_ms:.1f}"))
    for each in view.fallbacks:
        instead = each.placement or f"nothing stands in{each.why and ': '}{each.why}"
        say(f"  without {each.lost}: {instead}")
    for standby in view.standbys:
        say(f"  {standby}")
    if view.tiles:
        say("")
        console.print(TileMaps(view.tiles, by_segment(view.segments)))


def as_data(snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot without the visitors of the command line."""
    data: dict[str, Any] = msgspec.to_builtins(snapshot)
    data["nodes"] = [msgspec.to_builtins(node) for node in client.others_of(snapshot)]
    data["links"] = [msgspec.to_builtins(link) for link in links_between(snapshot)]
    return data


def nodes_table(nodes: Sequence[NodeView]) -> Table:
    """One row a node."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    titles = "node", "tier", "state", "board", "computes with", "cpu", "busy with", "emulated"
    for title in titles:
        table.add_column(title, no_wrap=title not in ("board", "busy with", "emulated"))
    for node in nodes:
        name = Text(node.name, style="bold" if node.leads else "")
        name.append(" leads" if node.leads else "", style="bold yellow")
        engines = ", ".join((*node.engines, *node.accelerators)) if node.rates else "nothing"
        table.add_row(
            name,
            node.tier,
            Text(node.state, style="red" if node.state == "lost" else ""),
            f"{node.board} {node.arch}, {node.cores} cores",
            engines,
            f"{node.cpu_percent:.0f} %",
            busy_with(node),
            node.emulated,
        )
    return table


def busy_with(node: NodeView) -> str:
    """Deployments and their shares of the node's time, the largest first, and what waits there."""
    shares = sorted(node.busy.items(), key=lambda each: (-each[1], each[0]))
    said = [f"{name} {100 * share:.0f} %" for name, share in shares]
    if node.queued_frames:
        frames = "frame" if node.queued_frames == 1 else "frames"
        said.append(f"{node.queued_frames} {frames} here, {node.wait_ms:.0f} ms of waiting")
    return ", ".join(said)


def links_between(snapshot: Snapshot) -> list[LinkView]:
    """Links whose both ends are no visitors."""
    names = {node.name for node in client.others_of(snapshot)}
    return [link for link in snapshot.links if link.sender in names and link.receiver in names]


def links_table(links: Sequence[LinkView]) -> Table:
    """One row a directed link."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("link", "state", "Mbit/s", "delay ms", "tensors MB"):
        table.add_column(title, justify="left" if title in ("link", "state") else "right")
    for link in links:
        is_known = link.mbps > 0
        table.add_row(
            f"{link.sender} → {link.receiver}",
            "up" if link.up else Text("down", style="red"),
            f"{link.mbps:.1f}" if is_known else "not measured",
            f"{link.delay_ms:.1f}" if is_known else "",
            f"{link.sent_bytes / 1e6:.1f}",
        )
    return table


def list_nodes(
    broker: Broker = DEFAULT_BROKER,
    cluster: Cluster = "home",
    key: Key = "",
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """List the nodes of a cluster."""
    with client.joined(broker, cluster, key, insecure) as flow:
        snapshot = client.settled(flow)
    if as_json:
        screen.emit_json({"leader": snapshot.leader, "nodes": as_data(snapshot)["nodes"]})
    else:
        screen.out().print(nodes_table(client.others_of(snapshot)))


def drain(
    name: Annotated[str, typer.Argument(metavar="NODE", help="The node.")],
    broker: Broker = DEFAULT_BROKER,
    cluster: Cluster = "home",
    key: Key = "",
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Ask a node to finish what it has accepted, hand over, and stop."""
    with client.joined(broker, cluster, key, insecure) as flow:
        answer = flow.request(name, "drain")
    if as_json:
        screen.emit_json({"node": name, "draining": True, **answer})
    else:
        screen.say(f"{name} drains, then stops")


def events(
    seconds: Annotated[float, typer.Option(help="Stop after so long; 0: never.")] = 0.0,
    broker: Broker = DEFAULT_BROKER,
    cluster: Cluster = "home",
    key: Key = "",
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """See EVENTS_HELP."""
    until_s = time.monotonic() + seconds if seconds else float("inf")
    with client.joined(broker, cluster, key, insecure) as flow:
        if not as_json:
            _tell_state(flow.snapshot())
        seen: list[str] = []
        while time.monotonic() < until_s:
            told = flow.notices()
            for sentence in told[overlap(seen, told) :]:
                if as_json:
                    screen.emit_json({"time_s": round(time.time(), 3), "sentence": sentence})
                else:
                    screen.say(f"{time.strftime('%H:%M:%S')}  {sentence}")
            seen = told
            time.sleep(client.POLL_S)


def overlap(before: Sequence[str], now: Sequence[str]) -> int:
    """How many of `now` were at the end of `before` already: the oldest of a full list drop out."""
    for count in range(min(len(before), len(now)), 0, -1):
        if list(before[-count:]) == list(now[:count]):
            return count
    return 0


def _tell_state(snapshot: Snapshot) -> None:
    for each in snapshot.deployments:
        screen.note(f"{each.name}: {each.phase}: {each.placement or each.sentence}")
