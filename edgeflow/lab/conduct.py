"""Changes carried out on a running lab, at once or along its time line; each is logged.

change ──▶ tc, relay, quota, signal, process ──▶ record (what holds now) ──▶ log of events
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from threading import Event

import msgspec

from edgeflow.errors import LabError, UsageError
from edgeflow.lab import changes, clocks, desk, hosts, network, quota, record, tracing
from edgeflow.lab.changes import Change
from edgeflow.lab.labfile import BROKER, LinkSpec
from edgeflow.lab.lifecycle import CONTROL
from edgeflow.lab.quota import Quotas
from edgeflow.lab.record import Record

RELAY_ANSWER_S = 5.0


def change(wanted: Change) -> str:
    """Carry one out; the sentence that was logged. UsageError where the lab has no such thing.

    A trace takes its time: give it to `play`.
    """
    with record.locked():
        made, quotas = record.need(), quota.find()
        for kind, name in changes.subjects_of(wanted):
            _need_subject(made, kind, name)
        _apply(wanted, made, quotas)
        made.save()
        said = changes.sentence(wanted)
        record.log_event(said)
        return said


def play(
    timeline: Sequence[Change], say: Callable[[str], None], ended: Event | None = None
) -> None:
    """Every change of a time line at its time, counted from now, step by step where it is a trace.

    `ended`, once set, ends it early: a repeated trace has no end of its own.
    """
    start_s, ended = time.monotonic(), ended or Event()
    for wanted in tracing.unrolled(timeline):
        if ended.wait(max(0.0, start_s + wanted.at_s - time.monotonic())):
            return
        said = change(wanted)
        say(f"{time.monotonic() - start_s:7.2f} s  {said}")


def _need_subject(made: Record, kind: str, name: str) -> None:
    there = {
        "link": list(made.links),
        "node": list(made.lab.nodes),
        "host": list(made.lab.hosts),
    }[kind]
    if name not in there:
        raise UsageError(
            f"there is no {kind} {name} in {made.lab.name}; there is {', '.join(there)}"
        )


def _apply(wanted: Change, made: Record, quotas: Quotas) -> None:
    match wanted:
        case changes.SetLink() | changes.Cut() | changes.Mend():
            _apply_to_link(wanted, made)
        case changes.FollowTrace():
            raise UsageError("a trace goes on for a while: put it on a time line, and play that")
        case changes.Partition():
            made.severed = [*made.severed, *_pairs(wanted, made)]
            network.sever(made.lab, made.severed)
        case changes.Heal():
            made.severed = []
            network.sever(made.lab, [])
        case changes.SetCpu(node, cpu):
            made.cpus[node] = cpu
            quotas.limit(node, cpu)
        case changes.Load(node, processes):
            hosts.load_with(quotas, node, processes)
        case _:
            _apply_to_process(wanted, made, quotas)


def _apply_to_process(
    wanted: changes.Kill
    | changes.Stop
    | changes.Continue
    | changes.Restart
    | changes.KillWorker
    | changes.SetClock
    | changes.Save,
    made: Record,
    quotas: Quotas,
) -> None:
    match wanted:
        case changes.KillWorker(node):
            hosts.end_workers(quotas, node)
        case changes.SetClock():
            _set_clock(wanted, made)
        case changes.Save():
            hosts.save_broker()
        case changes.Kill(host):
            hosts.end(quotas, host)
        case changes.Stop(host):
            hosts.freeze(quotas, host)
        case changes.Continue(host):
            hosts.thaw(quotas, host)
        case changes.Restart():
            _restart(wanted, made, quotas)


def _restart(wanted: changes.Restart, made: Record, quotas: Quotas) -> None:
    if wanted.state and wanted.host != BROKER:
        raise UsageError(f"{wanted.host} keeps its disk; only {BROKER} restarts {wanted.state}")
    quotas.kill(wanted.host, "node")
    hosts.start(made, quotas, wanted.host, wanted.state)


def _set_clock(wanted: changes.SetClock, made: Record) -> None:
    if not made.lab.clocks:
        raise UsageError(f"clocks of {made.lab.name} stay right: clocks = true in its file")
    clocks.shift(wanted.node, wanted.ahead_s)


def _apply_to_link(wanted: changes.SetLink | changes.Cut | changes.Mend, made: Record) -> None:
    found = made.links[wanted.link]
    match wanted:
        case changes.Cut():
            found.cut = wanted.direction
        case changes.Mend():
            found.cut = ""
        case changes.SetLink():
            fields = msgspec.structs.asdict(wanted)
            new = {key: fields[key] for key in SETTABLE if fields[key] is not None}
            found.spec = msgspec.structs.replace(found.spec, **new)
    spec = found.spec
    is_relayed = spec.title in made.relayed
    if spec.is_impaired and not (is_relayed or made.by_netem):
        raise UsageError(
            f"{spec.title} was built without delay, and this kernel has no netem to add it:"
            " give the link delay_ms = 0.01 in the file, then it is carried by the relay"
        )
    network.shape(made.lab, spec, found.cut, by_netem=made.by_netem and not is_relayed)
    if is_relayed and isinstance(wanted, changes.SetLink):
        _tell_relay(spec)


SETTABLE = ("up_mbps", "down_mbps", "delay_ms", "jitter_ms", "loss_percent")


def _tell_relay(spec: LinkSpec) -> None:
    impairment = msgspec.to_builtins(network.impairment(spec))
    request = {"wire": spec.title, "up": impairment, "down": impairment}
    answer = desk.ask(CONTROL, request, RELAY_ANSWER_S)
    if "error" in answer:
        raise LabError(f"the relay refused: {answer['error']}")


def _pairs(wanted: changes.Partition, made: Record) -> Iterator[tuple[str, str]]:
    """(sender, receiver) of everything that does not come through any more."""
    inside = set(wanted.hosts)
    others = wanted.towards or tuple(host for host in made.lab.hosts if host not in inside)
    for one in wanted.hosts:
        for other in others:
            yield one, other
            if not wanted.one_way:
                yield other, one


def describe(made: Record, quotas: Quotas) -> dict[str, object]:
    """The lab as it is now, for a screen or a program."""
    lab = made.lab
    carried = network.carried_bytes(lab)
    where = network.addresses(lab)
    return {
        "name": lab.name,
        "about": lab.about,
        "file": made.file,
        "broker": made.broker_url,
        "key": str(made.key_file),
        "delay_by": "netem" if made.by_netem else "relay" if made.relayed else "",
        "tcp": made.tcp,
        "tcp_wanted": lab.tcp,
        "seeded": made.seeded,
        "severed": [list(pair) for pair in made.severed],
        "hosts": [
            {
                "name": host,
                "tier": lab.nodes[host].tier if host != BROKER else "",
                "cpu": made.cpus.get(host),
                "address": where[host],
                "state": "bare"
                if host != BROKER and lab.nodes[host].bare
                else hosts.state(quotas, host),
                "busy_processes": len(quotas.pids(host, "load")),
            }
            for host in lab.hosts
        ],
        "links": [
            {
                **msgspec.to_builtins(state.spec),
                "name": title,
                "cut": state.cut,
                "up_bytes": carried[title][0],
                "down_bytes": carried[title][1],
            }
            for title, state in made.links.items()
        ],
    }
