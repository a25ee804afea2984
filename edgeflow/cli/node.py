"""`edgeflow node`: start one, list them, drain one."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from edgeflow.cli import status
from edgeflow.errors import UsageError
from edgeflow.io import settings
from edgeflow.io.allocator import keep_freed_memory

START_HELP = """Run a node until SIGTERM or Ctrl-C; it drains first.

It measures itself for about a second, announces itself over MQTT, takes part in elections, and
computes what plans give it. Settings come from --config and the options on top of it.

  edgeflow node start --tier edge --name edge-1 --broker mqtt://192.168.1.5
  edgeflow node start --config configs/pi.toml --name edge-2
  edgeflow node start --name slow --emulate compute_factor=4 --emulate peers_mbps.cloud=8

On another machine than the broker's, give every node the same --key (edgeflow key new FILE).
"""


def start(  # one option a setting: long, and nothing to think about
    name: Annotated[
        str | None, typer.Option(help="The node's name, unique in the cluster.")
    ] = None,
    tier: Annotated[str | None, typer.Option(help="device, edge, cloud, or RANK:NAME.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file; see configs/.")] = None,
    broker: Annotated[
        list[str] | None,
        typer.Option(envvar="EDGEFLOW_BROKER", help="Broker URL; repeat for stand-bys."),
    ] = None,
    cluster: Annotated[str | None, typer.Option(envvar="EDGEFLOW_CLUSTER")] = None,
    key: Annotated[
        str | None, typer.Option(envvar="EDGEFLOW_KEY", help="Cluster key file.")
    ] = None,
    insecure: Annotated[
        bool | None, typer.Option("--insecure", help="No key off loopback.")
    ] = None,
    compute: Annotated[str | None, typer.Option(help="auto, cpu, cuda or none.")] = None,
    engine: Annotated[
        str | None, typer.Option(help="auto (the quickest for each segment), torch or onnx.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Of the engine; 0: all cores.")] = None,
    bind: Annotated[str | None, typer.Option(help="Address to accept links on.")] = None,
    tensors_port: Annotated[int | None, typer.Option(help="0: any free port.")] = None,
    signals_port: Annotated[int | None, typer.Option(help="0: any free port.")] = None,
    advertise: Annotated[
        list[str] | None, typer.Option(help="Address that others reach this node at; repeatable.")
    ] = None,
    reachable: Annotated[bool | None, typer.Option(help="No: behind NAT, it only dials.")] = None,
    state_dir: Annotated[
        str | None, typer.Option(help="Keeps weights and the session number over restarts.")
    ] = None,
    store_bytes_max: Annotated[int | None, typer.Option(help="Weights kept on disk.")] = None,
    event_log: Annotated[
        str | None, typer.Option(help="Write what this node hears there, for `edgeflow replay`.")
    ] = None,
    can_lead: Annotated[bool | None, typer.Option(help="Default: whoever computes may.")] = None,
    emulate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="compute_factor=4, mbps=50, delay_ms=5, peers_mbps.NODE_OR_TIER=8; repeatable.",
        ),
    ] = None,
) -> None:
    """See START_HELP."""
    overrides: dict[str, Any] = {key: value for key, value in locals().items() if key != "config"}
    overrides["brokers"] = overrides.pop("broker") or None
    overrides["key_file"] = overrides.pop("key")
    overrides["advertise"] = overrides["advertise"] or None
    overrides["emulate"] = parse_emulate(emulate or [])
    _run(config, overrides)


def program(tier: str) -> None:
    """The node program of one tier: `node start` with the tier filled in. Never returns."""
    from edgeflow.cli.main import run

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(help=START_HELP)(start)
    run(lambda: app(args=["--tier", tier, *sys.argv[1:]]))


def _run(config: Path | None, overrides: dict[str, Any]) -> None:
    settled = settings.load(config, overrides)
    # Late: a command that starts no node has no use for engines and sockets.
    from edgeflow.io.compute.child import Child

    # Later still: the worker starts while the node loads all that it is made of.
    child = Child.ahead(settled)
    from edgeflow.service import run_node

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    keep_freed_memory()
    code = run_node(settled, child)
    if code:
        sys.exit(code)


def parse_emulate(pairs: list[str]) -> dict[str, Any]:
    """`["mbps=8", "peers_mbps.cloud=4"]` as the table [emulate]; UsageError on anything else."""
    table: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        try:
            value = float(text)
        except ValueError:
            equals = ""
            value = 0.0
        if not equals:
            raise UsageError(f"--emulate {pair}: write KEY=NUMBER, such as compute_factor=4")
        group, dot, peer = key.partition(".")
        if dot:
            table.setdefault(group, {})[peer] = value
        else:
            table[key] = value
    return table


def register(app: typer.Typer) -> None:
    """Adds `node start`, `node list`, `node drain`."""
    group = typer.Typer(help="Start a node, list them, drain one.", no_args_is_help=True)
    group.command("start", help=START_HELP)(start)
    group.command("list")(status.list_nodes)
    group.command("drain")(status.drain)
    app.add_typer(group, name="node")
