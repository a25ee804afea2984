"""`edgeflow lab`: a fleet on one Linux machine, out of namespaces, thin links and CPU quotas."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from edgeflow.cli import screen
from edgeflow.cli.screen import Json
from edgeflow.errors import UsageError
from edgeflow.lab import changes, conduct, hosts, labfile, lifecycle, quota, record, tracing
from edgeflow.lab.command import need_tools

HELP = """Build a small fleet on this machine: slow nodes, thin links, faults on demand.

Each node is a real edgeflow node in a network namespace with a CPU quota; links have rates, delay,
jitter and loss. What it is not: a Pi. Nodes are this machine's cores at N %, with its caches and
instructions. Linux, root, iproute2.

  sudo -E edgeflow lab up configs/labs/d3-wifi.toml --seed model.safetensors
  sudo -E edgeflow lab exec cam-1 -- edgeflow deploy model.safetensors --source cam-1
  sudo -E edgeflow lab exec cam-1 --free -- edgeflow infer cat.jpg --seconds 60 --ledger run.ledger
  sudo -E edgeflow lab do link uplink up_mbps=2
  sudo -E edgeflow lab do kill edge-2
  edgeflow ledger run.ledger --per 5
  sudo -E edgeflow lab down
"""
UP_HELP = """Build the lab in FILE.toml (see configs/labs/) and start its nodes.

Returns when every node is ready. Of the lab that is up already nothing is changed; what a killed
lab left is taken away first. Refused where the nodes would have to wait for each other's cores.
"""
DO_HELP = """Change the running lab; the change is logged with its time.

  link LINK [up_mbps=…] [down_mbps=…] [delay_ms=…] [jitter_ms=…] [loss_percent=…]
  trace LINK FILE.csv [both|up|down] [repeat=true]       seconds,mbps; until its end, or Ctrl-C
  cut LINK [both|up|down] · mend LINK
  partition HOST,HOST [TOWARDS,…] [one_way=true] · heal
  cpu NODE CORES · load NODE PROCESSES
  kill HOST · stop HOST · cont HOST · restart HOST       a HOST is a node or `broker`
  restart broker keep|older · save                       it restarts empty, else; save makes older
  kill-worker NODE · clock NODE SECONDS                  clocks = true in the lab file

The same words, as tables with `at_s` and `do`, make the [[timeline]] of a lab file.
"""
EXEC_HELP = """Run a command in the namespace and under the CPU quota of a node.

EDGEFLOW_BROKER and EDGEFLOW_KEY are set, so every edgeflow command works there as it is.
"""
EDGEFLOW = "edgeflow"


def register(app: typer.Typer) -> None:
    """Adds `lab`."""
    group = typer.Typer(help=HELP, no_args_is_help=True)
    group.command("up", help=UP_HELP)(up)
    group.command("status")(status)
    group.command("do", help=DO_HELP)(do)
    group.command("play")(play)
    group.command("exec", help=EXEC_HELP)(run_inside)
    group.command("log")(log)
    group.command("down")(down)
    app.add_typer(group, name="lab")


def up(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml")],
    seed: Annotated[
        list[Path] | None,
        typer.Option(help="A model that is on every node's disk before it starts; repeatable."),
    ] = None,
    as_json: Json = False,
) -> None:
    """See UP_HELP."""
    wanted = labfile.load(file)
    made = lifecycle.up(
        wanted, str(file.absolute()), [path.absolute() for path in seed or []], screen.note
    )
    _show(conduct.describe(made, quota.find()), as_json)


def status(as_json: Json = False) -> None:
    """Show the lab: nodes with their share, links with what they carry."""
    need_tools()
    _show(conduct.describe(record.need(), quota.find()), as_json)


def do(words: Annotated[list[str], typer.Argument(metavar="CHANGE…")]) -> None:
    """See DO_HELP."""
    need_tools()
    wanted = changes.parse(words)
    if isinstance(wanted, changes.FollowTrace):
        conduct.play(tracing.located([wanted], Path.cwd()), screen.say)
    else:
        screen.say(conduct.change(wanted))


def play(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE.toml]", help="Default: the lab's own file.")
    ] = None,
) -> None:
    """Carry out the [[timeline]] of a lab file, from now on; each change is logged."""
    need_tools()
    timeline = (labfile.load(file) if file else record.need().lab).timeline
    if not timeline:
        raise UsageError(
            "there is no [[timeline]] in that file; `edgeflow lab do --help` shows how"
        )
    conduct.play(timeline, screen.say)


def run_inside(
    host: Annotated[str, typer.Argument(metavar="NODE")],
    command: Annotated[list[str], typer.Argument(metavar="CMD…")],
    free: Annotated[
        bool, typer.Option("--free", help="Without the node's quota: for what only looks on.")
    ] = False,
) -> None:
    """See EXEC_HELP."""
    need_tools()
    made, quotas = record.need(), quota.find()
    if host not in made.lab.hosts:
        raise UsageError(f"there is no node {host}; there is {', '.join(made.lab.hosts)}")
    words = [*hosts.PROGRAM, EDGEFLOW, *command[1:]] if command[0] == EDGEFLOW else command
    line = quotas.within(hosts.FREE if free else host, "exec", hosts.inside(host, words))
    os.execvpe(line[0], line, hosts.environment(made))


def log(as_json: Json = False) -> None:
    """What was changed when: the log of events."""
    found = record.events()
    if as_json:
        screen.emit_json({"events": found})
        return
    for event in found:
        screen.say(f"{event['at_s'] - found[0]['at_s']:9.3f} s  {event['sentence']}")


def down(
    logs: Annotated[
        Path | None, typer.Option(help="Keep the processes' logs and the events in this folder.")
    ] = None,
) -> None:
    """Take the lab away: processes, namespaces, links, groups, disks."""
    need_tools()
    if logs is not None:
        record.keep_logs(logs)
    if not lifecycle.down(screen.say):
        screen.say("no lab is up")


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        screen.emit_json(found)
        return
    console = screen.out()
    screen.say(f"{found['name']}: {found['about']}")
    screen.say(f"x86 cores at N %, no Pi's caches or SIMD; {_told(found)}")
    console.print(_hosts_table(found))
    console.print(_links_table(found))
    screen.say(f"look inside: edgeflow lab exec {found['hosts'][1]['name']} -- edgeflow status")


def _told(found: dict[str, Any]) -> str:
    """How it is done, in one sentence."""
    by = {"netem": "delay by the kernel's netem", "relay": "delay by a relay of ours"}
    said = [by.get(found["delay_by"], "no delay")]
    kinds = sorted(set(found["tcp"].values()))
    told = f"TCP {', '.join(kinds)}"
    if kinds != [found["tcp_wanted"]]:
        told += (
            f" (wanted {found['tcp_wanted']}; to allow it:"
            f" sysctl -w net.ipv4.tcp_allowed_congestion_control='reno {found['tcp_wanted']}')"
        )
    said.append(told)
    if found["seeded"]:
        names = ", ".join(Path(path).name for path in found["seeded"])
        said.append(f"pre-seeded on every disk: {names}")
    return "; ".join(said)


def _hosts_table(found: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("host", "tier", "cores", "address", "state", "busy"):
        table.add_column(title)
    for each in found["hosts"]:
        share = "free" if each["cpu"] is None else f"{each['cpu']:.0%} of one"
        busy = str(each["busy_processes"] or "")
        table.add_row(each["name"], each["tier"], share, each["address"], each["state"], busy)
    return table


def _links_table(found: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("link", "between", "Mbit/s up/down", "delay ms", "loss %", "MB carried"):
        table.add_column(title, justify="left" if title in ("link", "between") else "right")
    for each in found["links"]:
        rates = [f"{each[key]:g}" if each.get(key) else "free" for key in RATES]
        rates = [
            "cut" if each["cut"] in (way, "both") else rate
            for way, rate in zip(("up", "down"), rates, strict=True)
        ]
        jitter = f" ± {each['jitter_ms']:g}" if each.get("jitter_ms") else ""
        ends = " ─ ".join(each["between"]) + (" (NAT)" if each.get("kind") == "nat" else "")
        table.add_row(
            "" if each["name"] == ":".join(each["between"]) else each["name"],
            ends,
            "/".join(rates),
            f"{each.get('delay_ms', 0):g}{jitter}",
            f"{each.get('loss_percent', 0):g}",
            "/".join(f"{each[key] / 1e6:.1f}" for key in ("up_bytes", "down_bytes")),
        )
    return table


RATES = ("up_mbps", "down_mbps")
