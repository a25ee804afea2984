"""A lab from its beginning to its end.

    up:    record ▶ groups ▶ namespaces ▶ relay ▶ cables, rates ▶ broker ▶ nodes ▶ ready
    down:  processes ▶ namespaces (their cables and TAPs go with them) ▶ groups ▶ folder

Invariant: `down` leaves nothing of what any `up` made, also of one that was killed on its way, and
touches nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from edgeflow.errors import LabError, UsageError
from edgeflow.lab import clocks, hosts, network, quota, record, relay
from edgeflow.lab.command import need_tools
from edgeflow.lab.labfile import BROKER, LabFile, LinkSpec, NodeSpec, need_room
from edgeflow.lab.quota import Quotas
from edgeflow.lab.record import FOLDER, LinkState, Record
from edgeflow.lab.seeding import seed
from edgeflow.lab.wires import RelayConfig

RELAY_S = 15.0
READY_S = 240.0
"""A node with a tenth of a core needs half a minute to load its engine; so many start at once."""
CONTROL = FOLDER / "relay.sock"

Say = Callable[[str], None]


def up(lab: LabFile, file: str, models: Sequence[Path], say: Say) -> Record:
    """Build a lab and wait until every node is ready; the one that is up already, if it is this.

    LabError, UsageError or NetworkError says what is in the way; what was built is taken away.
    """
    need_tools()
    if lab.clocks:
        clocks.need_compiler()
    need_room(lab, os.cpu_count() or 1)
    quotas = quota.find()
    with record.locked():
        found = record.load()
        if found is not None and _is_whole(found, quotas):
            if found.lab != lab:
                raise LabError(f"{found.lab.name} is up: edgeflow lab down")
            say(f"{lab.name} is up already; nothing was changed")
            return found
        if _is_something_left(quotas):
            say("an earlier lab was not taken down; it is now")
            _remove(quotas)
        network.need_free(lab)
        made = _planned(lab, file, models)
        try:
            _build(made, quotas, models, say)
        except BaseException:
            _remove(quotas)
            raise
        return made


def down(say: Say) -> bool:
    """Take away whatever there is of a lab; whether there was something."""
    need_tools()
    quotas = quota.find()
    with record.locked():
        if not _is_something_left(quotas):
            return False
        _remove(quotas)
        say("the lab is gone")
        return True


def wait_ready(made: Record, quotas: Quotas, say: Say, names: Sequence[str] = ()) -> None:
    """Until these nodes (none named: all) are ready, one leads, and all links between them are up.

    LabError names who is missing, with its last words.
    """
    wanted = set(names or made.lab.running)
    until_s, said = time.monotonic() + READY_S, ""
    while True:
        missing = _missing(made, quotas, wanted)
        if not missing:
            return
        for name in wanted:
            if hosts.state(quotas, name) == "dead":
                raise LabError(f"{name} ended: {hosts.last_words(name)}")
        if time.monotonic() > until_s:
            raise LabError(f"not within {READY_S:.0f} s: {missing}")
        if missing != said:
            say(f"waiting for {missing}")
            said = missing


def carry(made: Record, quotas: Quotas, relayed: Sequence[LinkSpec]) -> None:
    """Start the relay for these links and wait until its devices are there."""
    if not relayed:
        return
    wires = tuple(network.wire(made.lab, link) for link in relayed)
    config = FOLDER / "relay.json"
    config.write_bytes(msgspec.json.encode(RelayConfig(control=str(CONTROL), wires=wires)))
    words = [sys.executable, "-I", "-m", relay.__name__, str(config)]
    process = hosts.spawn(quotas, (hosts.FREE, "node"), words, "relay", os.environ)
    until_s = time.monotonic() + RELAY_S
    while b"ready" not in (FOLDER / "relay.log").read_bytes():
        if process.poll() is not None or time.monotonic() > until_s:
            raise LabError(f"the relay did not start: {hosts.last_words('relay')}")
        time.sleep(0.02)


def _is_whole(found: Record, quotas: Quotas) -> bool:
    """Built to its end, and not half gone (a restart of the machine leaves the folder alone)."""
    spaces = all(Path("/run/netns", name).exists() for name in record.namespaces())
    return found.phase == "up" and spaces and quotas.top.exists()


def _is_something_left(quotas: Quotas) -> bool:
    return FOLDER.exists() or quotas.top.exists()


def _planned(lab: LabFile, file: str, models: Sequence[Path]) -> Record:
    """What will be made, on disk before it is."""
    for model in models:
        if not model.is_file():
            raise UsageError(f"{model}: no such model file; edgeflow export makes one")
    record.plan_namespaces(network.names(lab))
    made = Record(
        lab=lab,
        file=file,
        phase="building",
        broker_url=hosts.broker_url(network.addresses(lab)[BROKER]),
        links={link.title: LinkState(link) for link in lab.links},
        cpus={name: node.cpu for name, node in lab.nodes.items()},
        seeded=[str(model) for model in models],
    )
    made.save()
    return made


def _build(made: Record, quotas: Quotas, models: Sequence[Path], say: Say) -> None:
    lab = made.lab
    for host in (*lab.hosts, hosts.FREE):
        quotas.make(host, made.cpus.get(host))
    network.make_namespaces(lab)
    impaired = [link for link in lab.links if link.is_impaired]
    made.by_netem = bool(impaired) and network.has_netem()
    relayed = [link for link in impaired if not made.by_netem or link.kind == "nat"]
    made.relayed = [link.title for link in relayed]
    network.make_switches(lab)
    carry(made, quotas, relayed)
    network.make_cables(lab, relayed)
    for link in lab.links:
        network.shape(lab, link, "", by_netem=made.by_netem and link not in relayed)
    made.tcp = network.set_congestion(lab)
    hosts.make_key()
    if lab.clocks:
        clocks.make()
    made.save()
    if models:
        say(f"{len(models)} model(s) go onto every node's disk before it starts")
        disks = [FOLDER / name for name in lab.running]
        for disk in disks:
            disk.mkdir(exist_ok=True)
        seed(models, disks)
    hosts.start_broker(made, quotas)
    for name in lab.running:
        hosts.start(made, quotas, name)
    wait_ready(made, quotas, say)
    made.phase = "up"
    made.save()
    record.log_event(f"{lab.name} is up")


def _remove(quotas: Quotas) -> None:
    if quotas.top.exists():
        quotas.remove()
    network.remove(record.namespaces())
    record.remove()


def _missing(made: Record, quotas: Quotas, wanted: set[str]) -> str:
    """Who is not ready, or which links are not up, in words; empty when nothing is missing."""
    words = hosts.inside(BROKER, [*hosts.PROGRAM, "edgeflow", "status", "--json"])
    line = quotas.within(hosts.FREE, "exec", words)
    done = subprocess.run(
        line, env=hosts.environment(made), capture_output=True, text=True, check=False
    )
    if done.returncode:
        return f"the cluster ({done.stderr.strip()})"
    seen = json.loads(done.stdout.splitlines()[-1])
    ready = {node["name"] for node in seen["nodes"] if node["state"] == "ready"}
    if late := sorted(wanted - ready):
        return ", ".join(late)
    if not seen["leader"] and any(_may_lead(node) for node in made.lab.nodes.values()):
        return "a leader"
    linked = {(link["sender"], link["receiver"]) for link in seen["links"] if link["up"]}
    pairs = {(one, other) for one in wanted for other in wanted if one != other}
    unlinked = sorted(pairs - linked)
    return f"the link {unlinked[0][0]} to {unlinked[0][1]}" if unlinked else ""


def _may_lead(node: NodeSpec) -> bool:
    """A node that computes nothing leads only if it is told to."""
    if node.bare:
        return False
    return bool(node.settings.get("can_lead", node.settings.get("compute") != "none"))
