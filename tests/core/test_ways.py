"""One direction of a relayed wire, without devices: what is dropped, held, and released when."""

from __future__ import annotations

import msgspec
import pytest

from edgeflow.lab.frames import opens_tcp
from edgeflow.lab.ways import HELD_BYTES_MAX, Way, held_bytes_max
from edgeflow.lab.wires import Impairment, RelayConfig, Request

SYN, SYN_ACK, ACK = 0x02, 0x12, 0x10
ETHERNET = bytes(12)


def segment(flags: int) -> bytes:
    return bytes(13) + bytes([flags]) + bytes(6)


def ipv4(flags: int, *, protocol: int = 6, options: int = 0, fragment: int = 0) -> bytes:
    head = bytearray(20 + 4 * options)
    head[0] = 0x45 + options
    head[6:8] = fragment.to_bytes(2, "big")
    head[9] = protocol
    return ETHERNET + b"\x08\x00" + head + segment(flags)


def ipv6(flags: int, *, protocol: int = 6) -> bytes:
    return ETHERNET + b"\x86\xdd" + bytes(6) + bytes([protocol]) + bytes(33) + segment(flags)


@pytest.mark.parametrize("start", [0, 10])
@pytest.mark.parametrize(
    ("frame", "opens"),
    [
        (ipv4(SYN), True),
        (ipv4(SYN | 0xC0), True),
        (ipv4(SYN, options=5), True),
        (ipv6(SYN), True),
        (ipv4(SYN_ACK), False),
        (ipv4(ACK), False),
        (ipv6(SYN_ACK), False),
        (ipv4(SYN, protocol=17), False),
        (ipv6(SYN, protocol=17), False),
        (ipv4(SYN, fragment=0x0001), False),
        (ipv4(SYN, fragment=0x0100), False),
        (ipv4(SYN, fragment=0x4000), True),
        (ETHERNET + b"\x08\x06" + bytes(46), False),
        (ETHERNET + b"\x81\x00\x00\x01" + ipv4(SYN)[12:], False),
    ],
)
def test_a_frame_opens_a_connection_by_syn_without_ack(
    frame: bytes, opens: bool, start: int
) -> None:
    assert opens_tcp(bytes([0xFF] * start) + frame, start) == opens


@pytest.mark.parametrize("frame", [ipv4(SYN), ipv6(SYN), ipv4(SYN, options=10)])
def test_a_frame_that_is_cut_short_opens_nothing(frame: bytes) -> None:
    flags_at = len(frame) - 7
    assert [opens_tcp(frame[:size]) for size in range(flags_at + 1)] == [False] * (flags_at + 1)
    assert opens_tcp(frame[: flags_at + 1])


def released(way: Way, now_s: float) -> list[bytes]:
    found = []
    while way.held and way.held[0][0] <= now_s:
        found.append(way.release())
    return found


def test_a_frame_leaves_after_the_delay_and_not_before() -> None:
    way = Way(Impairment(delay_ms=20), "1")
    way.take(b"one", 5.0)
    assert released(way, 5.0199) == []
    assert released(way, 5.02) == [b"one"]


def test_a_held_frame_keeps_its_time_and_later_ones_wait_behind_it() -> None:
    way = Way(Impairment(delay_ms=20), "1")
    way.take(b"one", 5.0)
    way.change(Impairment())
    way.take(b"two", 5.0)
    assert released(way, 5.0199) == []
    assert released(way, 5.02) == [b"one", b"two"]


def test_jitter_stays_within_its_bounds_reaches_both_and_never_goes_below_zero() -> None:
    way = Way(Impairment(delay_ms=10, jitter_ms=20), "1")
    delays_s = []
    for now_s in range(1000):
        way.take(b"", now_s)
        delays_s.append(way.held.pop()[0] - now_s)
    assert 0 <= min(delays_s) < 0.001
    assert 0.029 < max(delays_s) <= 0.03
    assert len(set(delays_s)) > 500


def test_jitter_keeps_the_mean_delay_of_a_busy_wire() -> None:
    way = Way(Impairment(delay_ms=20, jitter_ms=10), "1")
    waits_s = []
    due_s = 0.0
    for at in range(100_000):
        now_s = at * 0.0001
        way.take(b"", now_s)
        due_s = max(due_s, way.held.popleft()[0])
        waits_s.append(due_s - now_s)
    assert sum(waits_s) / len(waits_s) == pytest.approx(0.021, abs=0.001)


def test_the_same_seed_loses_the_same_frames_whatever_the_jitter() -> None:
    def passed(seed: str, jitter_ms: float) -> list[bytes]:
        way = Way(Impairment(jitter_ms=jitter_ms, loss_percent=30), seed)
        for at in range(1000):
            way.take(b"%d" % at, at / 1000)
        assert way.dropped_loss + len(way.held) == 1000
        assert 200 < way.dropped_loss < 400
        return released(way, 9.0)

    assert passed("1", 0) == passed("1", 5) != passed("2", 0)


def test_room_is_bounded_by_what_one_gbit_a_second_brings_in_the_delay() -> None:
    assert held_bytes_max(Impairment(delay_ms=8, jitter_ms=2)) == 2**20 + 10 * 125_000
    assert held_bytes_max(Impairment(delay_ms=10_000)) == HELD_BYTES_MAX
    way = Way(Impairment(), "1")
    for _ in range(3):
        way.take(bytes(2**19), 0.0)
    assert (len(way.held), way.dropped_full) == (2, 1)
    released(way, 0.0)
    way.take(bytes(2**20), 0.0)
    assert (len(way.held), way.dropped_full) == (1, 1)


def test_only_the_side_that_may_not_dial_is_refused_and_counted() -> None:
    shut, open_ = Way(Impairment(), "1", may_dial=False), Way(Impairment(), "1")
    for way in (shut, open_):
        way.take(ipv4(SYN), 0.0)
        way.take(ipv4(ACK), 0.0)
    assert (len(shut.held), shut.counts()["dropped_nat"]) == (1, 1)
    assert (len(open_.held), open_.counts()["dropped_nat"]) == (2, 0)


WIRE = '"name": "w", "a": {"netns": "x", "device": "p1"}, "b": {"netns": "x", "device": "p2"}'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('"up": {"delay_ms": -1}', "delay_ms"),
        ('"up": {"loss_percent": 101}', "loss_percent"),
        ('"up": {"rate": 1}', "rate"),
        ('"mtu": 20', "mtu"),
        ('"a": {"netns": "x", "device": "a-name-too-long-"}', "device"),
        ('"a": {"netns": "x/y", "device": "p1"}', "netns"),
        ('"a": {"netns": "x", "device": "p1", "mac": "01:00:00:00:00:00"}', "mac"),
        ('"a": {"netns": "x", "device": "p2"}', "two devices have one name"),
    ],
)
def test_a_wire_that_cannot_be_is_refused_by_the_field(text: str, complaint: str) -> None:
    def decode(wires: str) -> RelayConfig:
        return msgspec.json.decode(f'{{"control": "c", "wires": [{wires}]}}', type=RelayConfig)

    assert decode(f"{{{WIRE}}}").wires[0].mtu == 1500
    with pytest.raises(msgspec.ValidationError, match=complaint):
        decode(f"{{{WIRE}, {text}}}")
    with pytest.raises(msgspec.ValidationError, match="two wires"):
        decode(f"{{{WIRE}}}, {{{WIRE}}}")


@pytest.mark.parametrize(
    "text", ["{}", '{"stats": true, "wire": "w"}', '{"stats": true, "up": {}}']
)
def test_a_request_asks_for_exactly_one_thing(text: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="ask either"):
        msgspec.json.decode(text, type=Request)
