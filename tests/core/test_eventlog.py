"""What a node heard, as bytes and back, and through a core once more."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from dataclasses import replace as changed

import pytest
from msgspec.structs import replace

from edgeflow.cluster.election import Election
from edgeflow.events import Calibrated, Effect, Event, Heard, ManifestLoaded, Publish, Tick
from edgeflow.messages import Claim, Leader, Load, Response
from edgeflow.mind.eventlog import (
    HEADER_BYTES,
    MAGIC,
    Cut,
    End,
    EventLogError,
    EventWriter,
    Found,
    Gap,
    Head,
    Model,
    Step,
    effects_check,
    frame,
    read,
)
from edgeflow.mind.replay import Replay
from edgeflow.sim.judge import Judge, Watched
from edgeflow.sim.toy import MODEL, TOY
from edgeflow.sim.world import World


@dataclass(slots=True)
class Clerk(Judge):
    """A judge who keeps the event log of each machine, as the shell does."""

    logs: dict[tuple[str, int], list[bytes]] = field(default_factory=dict)
    writers: dict[tuple[str, int], EventWriter] = field(default_factory=dict)

    def watch(self, machine: Watched, event: Event) -> list[Effect]:
        key = (machine.name, machine.session)
        if key not in self.logs:
            self.writers[key] = EventWriter()
            self.logs[key] = [self.writers[key].head("test", machine.core.parts.caps, "now")]
        effects = Judge.watch(self, machine, event)
        self.logs[key].append(self.writers[key].step(machine.clock_s(), event, effects))
        return effects


def play(seconds: float = 14.0) -> dict[str, bytes]:
    """The logs of a small fleet that loses its leader under frames."""
    world = World(3, 4, plain=True)
    clerk = Clerk(lambda: world.clockwork.now_s)
    world.judge = clerk
    for name in world.tiers:
        world.boot(name)

    def submit() -> None:
        world.submit("job-0", "cam-1")

    world.clockwork.after(1.0, world.deploy_all)
    for at in range(30):
        world.clockwork.after(5.0 + at * 0.2, submit)
    world.clockwork.run(8.0)
    leader = next(m.name for m in world.machines.values() if m.core.parts.election.mine)
    world.crash(leader)
    world.clockwork.run(seconds)
    return {f"{name}-{session}": b"".join(log) for (name, session), log in clerk.logs.items()}


FELL = "E1: the highest claim fell"
LOGS = play()
CAM = LOGS["cam-1-1"]


def replayed(log: bytes, until_s: float = float("inf")) -> Replay:
    found = Replay()
    found.run(read(memoryview(log)), until_s)
    return found


def records(log: bytes) -> list[Found]:
    return list(read(memoryview(log)))


def bounds(log: bytes) -> list[int]:
    """Where each record begins, and the end."""
    at, found = len(MAGIC), [len(MAGIC)]
    while at < len(log):
        at += HEADER_BYTES + int.from_bytes(log[at : at + 4], "big")
        found.append(at)
    return found


@pytest.mark.parametrize("name", sorted(LOGS))
def test_a_simulated_machine_does_the_same_again(name: str) -> None:
    found = replayed(LOGS[name])
    assert found.difference is None
    assert not found.violations
    assert found.events == sum(found.kinds.values()) > 100
    assert found.head is not None
    assert f"{found.head.caps.node}-{found.head.caps.session}" == name


def test_the_log_of_a_source_holds_its_frames_and_one_manifest() -> None:
    kinds = Counter(type(record) for record in records(CAM))
    assert kinds[Head] == kinds[Model] == 1
    loaded = [
        record.event
        for record in records(CAM)
        if isinstance(record, Step) and isinstance(record.event, ManifestLoaded)
    ]
    assert loaded
    assert all(event == ManifestLoaded(MODEL, TOY) for event in loaded)
    assert replayed(CAM).kinds["Submitted"] == 30


def test_a_log_cut_at_any_byte_is_read_up_to_the_cut_and_says_so() -> None:
    starts = bounds(CAM)[:60]
    for at in range(len(MAGIC), starts[-1]):
        found = records(CAM[:at])
        whole = sum(start <= at for start in starts) - 1
        if at in starts:
            assert len(found) == whole
        else:
            assert found[-1] == Cut(starts[whole])
            assert len(found) == whole + 1
    cut = replayed(CAM[:-1])
    assert cut.difference is None
    assert cut.events == replayed(CAM).events - 1
    assert "is cut at byte" in cut.ended


@pytest.mark.parametrize("at", [0, 1, 17, 40])
def test_a_flipped_bit_anywhere_in_a_record_is_named_with_its_number(at: int) -> None:
    starts = bounds(CAM)
    for offset in range(starts[at], starts[at + 1]):
        damaged = bytearray(CAM)
        damaged[offset] ^= 0x10
        with pytest.raises(EventLogError, match=rf"record {at} at byte {starts[at]} is damaged"):
            records(bytes(damaged))


@pytest.mark.parametrize("start", [b"", b"edgeflow", b"edgeflow-events 2\n", bytes(100)])
def test_what_is_no_event_log_is_told_how_one_is_made(start: bytes) -> None:
    with pytest.raises(EventLogError, match="--event-log"):
        records(start)


def test_a_log_without_its_head_is_none() -> None:
    with pytest.raises(EventLogError, match="first record"):
        records(MAGIC + frame(Gap(1)))


def test_a_manifest_that_is_not_in_the_log_is_missed() -> None:
    head = CAM[: bounds(CAM)[1]]
    with pytest.raises(EventLogError, match="not in the log"):
        records(head + frame(Step(1.0, ManifestLoaded(MODEL, None), b"")))


def test_replay_stops_at_a_gap() -> None:
    starts = bounds(CAM)
    found = replayed(CAM[: starts[20]] + frame(Gap(7)) + CAM[starts[20] :])
    assert found.events == 19
    assert "7 events were lost" in found.ended
    assert found.difference is None


def test_replay_ends_where_the_log_or_the_user_says() -> None:
    assert replayed(CAM + frame(End("the node stopped"))).ended == "the node stopped"
    found = replayed(CAM, until_s=3.0)
    assert found.span_s <= 3.0
    assert 0 < found.events < replayed(CAM).events
    assert "as asked" in found.ended


def test_a_core_that_changed_is_reported_with_the_events_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgeflow.mind.duties.REPUBLISH_S", 4.9)
    found = replayed(CAM)
    assert found.difference is not None
    assert isinstance(found.difference.event, Tick)
    assert found.difference.number == found.events
    assert found.difference.at_s == pytest.approx(5.5, abs=1.0)
    assert any(isinstance(effect, Publish) for effect in found.difference.effects)


def test_a_core_that_raises_now_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("edgeflow.mind.duties.Duties.become_ready")
    found = replayed(CAM)
    assert found.difference is not None
    assert isinstance(found.difference.event, Calibrated)
    assert "become_ready" in found.difference.error


def test_a_broken_promise_is_told_with_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(election: Election, claim: Claim, now_s: float) -> Election:
        return changed(election, highest=claim)

    unchecked = [replace(r, effects=b"") if isinstance(r, Step) else r for r in records(CAM)]
    monkeypatch.setattr("edgeflow.cluster.election.Election.saw", forget)
    leader = Heard(Leader(Claim(0, 0, "nobody", 1), 1.0, 1), False)
    found = Replay()
    found.run([*unchecked, Step(1e9, leader, b"")])
    assert found.violations[-1] == f"event {found.events} at {found.span_s:.3f} s: {FELL}"


def test_effects_are_the_same_whatever_the_order_inside_a_dict() -> None:
    one = [Publish(Response("a", "ping", "1", "ok", {"x": "1", "y": "2"}))]
    other = [Publish(Response("a", "ping", "1", "ok", {"y": "2", "x": "1"}))]
    assert effects_check(one) == effects_check(other)
    assert effects_check(one) != effects_check([*one, *one])
    assert effects_check(one) != effects_check([])


def test_what_cannot_be_written_down_is_an_error_that_says_so() -> None:
    huge = Heard(Leader(Claim(1 << 80, 0, "a", 1), 1.0, 1), False)
    with pytest.raises(EventLogError, match="cannot be written down"):
        EventWriter().step(1.0, huge, [])
    assert effects_check([Publish(huge.message)]) == b""


def test_a_heartbeat_costs_little() -> None:
    load = Load("a", 1, 1, 0.0, 0, None, False, 0, 0, {}, None, {}, {})
    assert len(EventWriter().step(1.0, Heard(load, False), [])) < 400
