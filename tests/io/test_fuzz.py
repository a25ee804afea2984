"""Some thousand malformed messages, files and settings: refused, each, and nobody is disturbed.

`scripts/bench fuzz` throws many more at a fleet of processes. A failure prints its seed: give it as
EDGEFLOW_FUZZ_SEED to see it again.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import zmq
from msgspec.structs import replace

from edgeflow.bench.fuzzing.files import Count, Models, Settings
from edgeflow.bench.fuzzing.forgery import Forger
from edgeflow.bench.fuzzing.peer import Strangers, Way
from edgeflow.bench.fuzzing.words import CLUSTER, Words
from edgeflow.cluster.membership import PEERS_MAX
from edgeflow.codec import (
    CodecError,
    decode_control,
    decode_signal,
    decode_tensors,
    encode_control,
    encode_signal,
    encode_tensors,
    plan_hash,
    topic_of,
)
from edgeflow.config import NodeConfig
from edgeflow.events import BrokerUp, Calibrated, Heard, Publish, Tick
from edgeflow.io.arrivals import Arrived
from edgeflow.io.lanes import Lane
from edgeflow.io.links import Links
from edgeflow.messages import (
    EDGE,
    Board,
    Caps,
    Claim,
    Hello,
    Leader,
    Load,
    Plan,
    PlanId,
    Rates,
    Spec,
    State,
    Status,
    Submit,
)
from edgeflow.mind.node import NodeCore
from tests.io.test_links import drive, join, of, submit

SEED = int(os.environ.get("EDGEFLOW_FUZZ_SEED", "1"))
CLAIM, MODEL = Claim(1, 9, "edge-1", 7), "a" * 64
RATES = Rates(1e9, 1e9, 1e9, 1e-6)
ME = Hello("mallory", 5)
REAL = frozenset({"edge-1", "worker-1", "source", "fuzzed"})


@pytest.fixture
def chance() -> random.Random:
    print(f"EDGEFLOW_FUZZ_SEED={SEED}")  # noqa: T201 - pytest shows it where a test fails
    return random.Random(SEED)


def plan() -> Plan:
    sessions = {"source": 1, "worker-1": 2, "worker-2": 3}
    line = "one @worker-1 | two..three @worker-2"
    name, none = PlanId(CLAIM, 1), "0" * 64
    made = Plan(name, "fuzzed", MODEL, "source", sessions, (line,), 0.1, 0.1, "x", "y", none)
    return replace(made, hash=plan_hash(made))


def words(chance: random.Random) -> Words:
    """Of what a small fleet says."""
    caps = Caps("edge-1", 7, EDGE, "", "", 1, 1, (), ("torch",), RATES, True, True, (), "")
    said = (
        State("worker-1", 2, 1, "ready"),
        replace(caps, node="worker-1", session=2),
        Load("worker-1", 2, 5, 1.0, 1, 40.0, False, 0, 0, {}, CLAIM, {"fuzzed": plan().id}, {}),
        Leader(CLAIM, 2.0, 9),
        Spec("fuzzed", 1, MODEL, "fuzzed", "source", "source"),
        Board("fuzzed", CLAIM, 1, None, plan()),
    )
    heard = {topic_of(CLUSTER, message): encode_control(message) for message in said}
    return Words(chance, heard, REAL, plan())


def test_any_bytes_are_a_message_or_a_codec_error(chance: random.Random) -> None:
    forger, made, refused, accepted = Forger(chance, plan(), ME), words(chance), 0, 0
    for _ in range(3000):
        said = made.next()
        lane, parts = forger.next()
        try:
            topic = said.topic.decode(errors="replace")
            encode_control(decode_control(CLUSTER, topic, said.payload))
            accepted += 1
        except CodecError:
            refused += 1
        try:
            if lane is Lane.SIGNALS:
                encode_signal(decode_signal(parts[0]))
            else:
                encode_tensors(*decode_tensors(parts[1:]))
            accepted += 1
        except CodecError:
            refused += 1
    assert refused > 2000
    assert accepted > 200


@pytest.mark.parametrize("kind", [Models, Settings])
def test_files_are_read_or_refused_with_a_sentence(
    kind: type[Models] | type[Settings], chance: random.Random, tmp_path: Path
) -> None:
    reader, count = kind(chance, tmp_path), Count()
    for _ in range(1500):
        reader.next(count)
    assert not count.crashes, count.crashes
    assert count.refused > 0.7 * count.sent


def test_links_that_are_talked_rubbish_to_go_on_for_the_others(chance: random.Random) -> None:
    nodes = [Links(node=name, session=at, config=config(name), identity=None)
             for at, name in ((2, "worker-1"), (1, "source"))]  # fmt: skip
    victim, friend = nodes
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    strangers = Strangers(context, chance, ME.node)
    try:
        join(friend, victim)
        victim.open(ME.node, ME.session, (), "")
        way = Way(context, ME, victim.node, victim.session, victim.endpoints[0])
        end_s = time.monotonic() + 10
        while not way.is_up and time.monotonic() < end_s:
            way.pump()
            drive(nodes, lambda _: True, 0.02)
        forger, arrived, sent = Forger(chance, plan(), ME), 0, 0
        x = np.ones(100, np.float32)
        for at in range(2000):
            lane, parts = forger.next()
            if at % 100 == 50:
                strangers.knock(way, parts)
            elif not way.is_up:
                way.pump()
            else:
                way.send(lane, parts)
            if at % 10 == 0:
                way.pump()
                sent += friend.send_tensors(victim.node, submit(x, at), {"x": x})
                arrived += len(whole(victim, friend, nodes))
        end_s = time.monotonic() + 5
        while arrived < sent and time.monotonic() < end_s:
            arrived += len(whole(victim, friend, nodes))
        way.close()
    finally:
        strangers.close()
        for links in nodes:
            links.close()
        context.destroy(linger=0)
    assert arrived == sent == 200
    assert victim.counters["malformed"] > 300


def whole(victim: Links, friend: Links, nodes: list[Links]) -> list[Arrived]:
    """What a friend sent, as it arrived."""
    seen = of(drive(nodes, lambda found: bool(found), 0.01), Arrived, victim.node)
    return [each for each in seen if each.peer == friend.node and isinstance(each.message, Submit)]


@pytest.mark.parametrize("what", ["flooded", "hung_up"])
def test_a_connection_that_breaks_does_not_end_the_process(what: str) -> None:
    program = Path(__file__).with_name(f"{what}_program.py")
    command = [sys.executable, str(program)]
    done = subprocess.run(command, timeout=30, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]


def config(name: str) -> NodeConfig:
    return NodeConfig(name=name, tensors_port=0, signals_port=0)


def test_a_core_that_hears_nonsense_says_only_what_can_be_said(chance: random.Random) -> None:
    caps = Caps("edge-1", 7, EDGE, "", "", 1, 1, (), ("torch",), None, True, True, (), "")
    core, made, now_s = NodeCore(caps), words(chance), 10.0
    made.real = frozenset({"edge-1"})
    open_: list[object] = [BrokerUp(1), Calibrated(RATES)]
    told = 0
    for at in range(4000):
        said = made.next()
        with suppress(CodecError):
            heard = decode_control(CLUSTER, said.topic.decode(errors="replace"), said.payload)
            if getattr(heard, "node", "") != "edge-1":
                open_.append(Heard(heard, retained=said.retain))
        if at % 10 == 0:
            now_s += 0.1
            open_.append(Tick())
        while open_:
            for effect in core.handle(open_.pop(0), now_s):  # type: ignore[arg-type]
                if isinstance(effect, Publish):
                    told += 1
                    payload = encode_control(effect.message)
                    topic = topic_of(CLUSTER, effect.message)
                    if not isinstance(effect.message, Status):  # it may tell of a ghost's plan
                        again = decode_control(CLUSTER, topic, payload)
                        open_.append(Heard(again, retained=False))
    assert core.parts.election.leads
    assert told > 500
    assert len(core.parts.membership.peers) <= PEERS_MAX
