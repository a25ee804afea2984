"""Links: who dials, when one is opened anew, what is measured."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from edgeflow.cluster.membership import Peer
from edgeflow.estimation.neighbour import (
    AGAIN_BYTES,
    AGAIN_S,
    EASED_REST_S,
    EASED_ROUNDS,
    PRESUMED_S,
    PROBE_BYTES_MAX,
    PROBE_BYTES_MIN,
    PROBE_FIRST_S,
    PROBE_IDLE_S,
    PROBE_LIVE_S,
    PROBE_SLOWED_S,
    PROBE_SMALL_BYTES,
    PROBE_SMALL_S,
    PROBE_TAKES_S,
    PROBES_BYTES,
    SLOWED_S,
)
from edgeflow.estimation.neighbours import LINKS_MAX, PROBE_LOST_S, Neighbours, dials
from edgeflow.events import CloseLink, Effect, OpenLink, SendProbe, Transferred
from edgeflow.messages import (
    CLOUD,
    DEVICE,
    EDGE,
    Caps,
    Endpoint,
    LinkReport,
    Load,
    TensorHead,
    Tier,
)

HERE, THERE = Endpoint("10.0.0.1", 1, 2), Endpoint("10.0.0.2", 1, 2)


def caps(
    name: str, tier: Tier = EDGE, reachable: bool = True, at: Endpoint = HERE, session: int = 1
) -> Caps:
    return Caps(
        name, session, tier, "", "", 1, 1, (), (), None, True, reachable, (at,), "key-of-cluster"
    )


def peer(said: Caps) -> Peer:
    return Peer(said.node, said.session, caps=said)


MINE = caps("edge-1")


@pytest.fixture
def links() -> Neighbours:
    """edge-1 with an open link to cloud-1, measured."""
    links = Neighbours("edge-1")
    links.tick(MINE, [peer(caps("cloud-1", CLOUD))], False, 1.0)
    links.on_up("cloud-1", 1, 1.1)
    for _ in range(4):
        transferred(links, "cloud-1", 1000, AGAIN_S, 1.2)
    return links


def test_a_quick_link_is_probed_thrice_and_a_slow_one_once() -> None:
    for seconds, sent in ((AGAIN_S / 2, len(PROBES_BYTES) + len(AGAIN_BYTES)), (AGAIN_S, 4)):
        links = Neighbours("edge-1")
        links.tick(MINE, [peer(caps("cloud-1", CLOUD))], False, 1.0)
        effects, probes = links.on_up("cloud-1", 1, 1.1), 0
        while effects and probes < 99:
            (probe,) = effects
            assert isinstance(probe, SendProbe)
            probes += 1
            effects = transferred(links, "cloud-1", probe.message.size_bytes, seconds, 1.2)
        assert probes == sent == links.report(99.0)["cloud-1"].samples


def opened(effects: list[Effect]) -> list[OpenLink]:
    return [effect for effect in effects if isinstance(effect, OpenLink)]


@pytest.mark.parametrize(
    ("mine", "other", "first_dials"),
    [
        (caps("cam-1", DEVICE), caps("edge-1"), True),
        (caps("edge-1"), caps("edge-2"), True),
        (caps("cloud-1", CLOUD), caps("edge-2"), False),
        (caps("cloud-1", CLOUD, reachable=False), caps("edge-2"), True),
    ],
)
def test_exactly_one_of_two_dials(mine: Caps, other: Caps, first_dials: bool) -> None:
    assert dials(mine, other) is first_dials
    assert dials(other, mine) is not first_dials


def test_one_dials_and_the_other_accepts() -> None:
    (dialled,) = opened(Neighbours("edge-1").tick(MINE, [peer(caps("edge-2"))], False, 1.0))
    assert dialled == OpenLink("edge-2", 1, (HERE,), "key-of-cluster", "edge")
    (accepted,) = opened(Neighbours("edge-1").tick(MINE, [peer(caps("cam-1", DEVICE))], False, 1.0))
    assert accepted.endpoints == ()


def test_two_that_nobody_can_reach_have_no_link() -> None:
    mine, other = caps("cam-1", DEVICE, reachable=False), caps("cam-2", DEVICE, reachable=False)
    assert Neighbours("cam-1").tick(mine, [peer(other)], False, 1.0) == []


def test_a_new_session_replaces_the_link(links: Neighbours) -> None:
    (again,) = opened(links.tick(MINE, [peer(caps("cloud-1", CLOUD, session=2))], False, 2.0))
    assert again.session == 2
    assert links.linked() == frozenset()
    assert links.on_up("cloud-1", 1, 2.1) == []
    assert links.linked() == frozenset()


def test_a_peer_that_moved_is_dialled_at_its_new_address_once_the_link_is_down(
    links: Neighbours,
) -> None:
    moved = peer(caps("cloud-1", CLOUD, at=THERE))
    assert opened(links.tick(MINE, [moved], False, 2.0)) == []
    links.on_down("cloud-1", 1)
    (again,) = opened(links.tick(MINE, [moved], False, 2.1))
    assert again.endpoints == (THERE,)
    assert opened(links.tick(MINE, [moved], False, 2.2)) == []


def test_a_down_of_an_old_session_changes_nothing(links: Neighbours) -> None:
    links.on_down("cloud-1", 0)
    assert links.linked() == {"cloud-1"}


def test_a_link_that_works_stays_though_the_broker_lost_the_peer(links: Neighbours) -> None:
    assert links.tick(MINE, [], False, 2.0) == []
    links.on_down("cloud-1", 1)
    assert links.tick(MINE, [], False, 2.1) == [CloseLink("cloud-1")]


def test_links_are_bounded() -> None:
    links = Neighbours("edge-1")
    many = [peer(caps(f"edge-x{at}")) for at in range(LINKS_MAX + 5)]
    assert len(opened(links.tick(MINE, many, False, 1.0))) == LINKS_MAX


def test_a_new_link_is_probed_and_an_idle_one_again() -> None:
    links = measured(1e7)
    links.links["cloud-1"].rounds = 0
    alive, now_s, pauses = [peer(caps("cloud-1", CLOUD))], 39.0, list[float]()
    while len(pauses) < 8:
        due_s = now_s + PROBE_FIRST_S * 2.0 ** len(pauses) if len(pauses) < 6 else now_s + 60
        assert links.tick(MINE, alive, False, due_s - 0.2) == []
        found = links.tick(MINE, alive, False, due_s + 0.2)
        sizes = [each.message.size_bytes for each in until_quiet(links, found, 1e7, due_s + 0.2)]
        assert sizes == [PROBE_SMALL_BYTES, PROBE_BYTES_MAX]
        pauses.append(due_s - now_s)
        now_s = links.links["cloud-1"].rated_s
    assert pauses == [1, 2, 4, 8, 16, 32, PROBE_IDLE_S, PROBE_IDLE_S]


def test_a_probe_that_was_lost_is_sent_again(links: Neighbours) -> None:
    alive = [peer(caps("cloud-1", CLOUD))]
    assert len(links.tick(MINE, alive, False, 3.0)) == 1
    assert links.tick(MINE, alive, False, 3.1) == []
    assert len(links.tick(MINE, alive, False, 3.1 + PROBE_LOST_S)) == 1


def measured(bytes_per_s: float) -> Neighbours:
    """edge-1 with a link to cloud-1 of that rate, over which some frames went."""
    links = Neighbours("edge-1")
    links.tick(MINE, [peer(caps("cloud-1", CLOUD))], False, 1.0)
    found = links.on_up("cloud-1", 1, 1.1)
    while found:
        (probe,) = found
        assert isinstance(probe, SendProbe)
        found = receipt(links, probe, 0.002 + probe.message.size_bytes / bytes_per_s, 1.2)
    for at in range(30):
        transferred(links, "cloud-1", 150_000, 0.002 + 150_000 / bytes_per_s, 10.0 + at)
    links.links["cloud-1"].rounds, links.links["cloud-1"].tripped_s = 6, 39.0
    return links


def until_quiet(
    links: Neighbours, found: list[Effect], bytes_per_s: float, now_s: float
) -> list[SendProbe]:
    """Answers probes until none is sent any more."""
    probes: list[SendProbe] = []
    while found:
        (probe,) = found
        assert isinstance(probe, SendProbe)
        probes.append(probe)
        now_s += 0.01
        found = receipt(links, probe, 0.002 + probe.message.size_bytes / bytes_per_s, now_s)
    return probes


def receipt(links: Neighbours, probe: Effect, seconds: float, now_s: float) -> list[Effect]:
    assert isinstance(probe, SendProbe)
    return transferred(links, "cloud-1", probe.message.size_bytes, seconds, now_s)


def transferred(
    links: Neighbours, name: str, nbytes: int, seconds: float, now_s: float
) -> list[Effect]:
    """A receipt that comes as soon as its message is there."""
    return links.on_transferred(Transferred(name, nbytes, seconds, handed_s=now_s - seconds), now_s)


def told(
    said: Caps, cpu_percent: float, back_bytes_per_s: float = 0.0, frames: float = 0.0
) -> Peer:
    """A node that says how busy it is, with frames or otherwise, and how quick its link here is."""
    back = {MINE.node: LinkReport(True, 0.002, back_bytes_per_s, 0, 9)}
    load = Load(said.node, 1, 1, cpu_percent, 0, None, False, 0, 0, back, None, {}, {})
    return Peer(said.node, 1, caps=said, load=replace(load, busy={"job": frames}))


def slowed(links: Neighbours, bytes_per_s: float, now_s: float) -> None:
    """Frames that take as long as on a link of that rate, the last of them at `now_s`."""
    for at in range(6):
        transferred(links, "cloud-1", 150_000, 0.08 + 150_000 / bytes_per_s, now_s - 0.5 + at / 10)


def probe_s(links: Neighbours) -> float:
    """What a large probe should take."""
    report = links.report(99.0)["cloud-1"]
    return report.delay_s + PROBE_BYTES_MAX / report.bytes_per_s


def test_after_one_far_too_slow_message_a_small_probe_decides() -> None:
    """A large one would be in the way of frames for half a second."""
    links = measured(4e6)
    probes = until_quiet(links, transferred(links, "cloud-1", 150_000, 1.2, 50.0), 125_000, 50.0)
    assert probes[0].message.size_bytes == PROBE_BYTES_MIN
    assert links.report(51.0)["cloud-1"].bytes_per_s < 2 * 125_000
    assert links.links["cloud-1"].estimate.steps == 1


def test_a_link_that_is_quick_again_is_rated_at_once_though_probes_waited_behind_frames() -> None:
    links = measured(125_000)
    found, now_s = transferred(links, "cloud-1", 150_000, 0.15, 50.0), 50.0
    for seconds in (0.011, 0.011, 0.01, 0.01, 0.01, 0.01):
        if not found:
            break
        (probe,) = found
        now_s += 0.01
        found = receipt(links, probe, seconds, now_s)
    assert links.report(51.0)["cloud-1"].bytes_per_s > 3e6


def test_a_link_that_has_just_got_slow_is_probed_often_for_a_while(links: Neighbours) -> None:
    """Who crowded it may be gone, and the frames that left it do not tell."""
    links = measured(4e6)
    until_quiet(links, transferred(links, "cloud-1", 150_000, 1.2, 50.0), 125_000, 50.0)
    here = [peer(caps("cloud-1", CLOUD))]
    now_s, count = 50.1, 0
    while now_s < 50.0 + SLOWED_S:
        now_s += 0.1
        count += bool(until_quiet(links, links.tick(MINE, here, True, now_s), 125_000, now_s))
    assert SLOWED_S / PROBE_SLOWED_S / 2 < count <= SLOWED_S / PROBE_SLOWED_S
    assert links.links["cloud-1"].rest_s(now_s + 0.2) == PROBE_LIVE_S


def test_one_far_too_slow_message_on_a_link_that_is_as_it_was_is_a_hiccup() -> None:
    links = measured(4e6)
    until_quiet(links, transferred(links, "cloud-1", 150_000, 1.2, 50.0), 4e6, 50.0)
    assert links.report(51.0)["cloud-1"].bytes_per_s == pytest.approx(4e6, rel=0.1)
    assert links.links["cloud-1"].estimate.steps == 0


@pytest.mark.parametrize("is_mine", [True, False])
def test_a_link_is_measured_anew_once_an_end_is_less_busy(is_mine: bool) -> None:
    """An edge node that is busy reads late; nobody sends it frames, who would see that it is not
    any more?"""
    links = measured(1e7)

    def tick(cpu_percent: float, now_s: float) -> list[Effect]:
        loads = (cpu_percent, 10.0) if is_mine else (10.0, cpu_percent)
        ends = [told(MINE, loads[0]), told(caps("cloud-1", CLOUD), loads[1])]
        return links.tick(MINE, ends, False, now_s)

    slowed(links, 1e7, now_s=40.0)
    assert probe_s(links) > 0.04
    assert tick(90.0, 40.0 + EASED_REST_S - 0.1) == []
    assert tick(70.0, 40.0 + EASED_REST_S + 0.1) == [], "it is busy still"
    found = tick(50.0, 40.0 + EASED_REST_S + 0.2)
    sizes = [each.message.size_bytes for each in until_quiet(links, found, 1e7, 45.0)]
    assert sizes[: 2 * EASED_ROUNDS : 2] == [PROBE_SMALL_BYTES] * EASED_ROUNDS
    assert len(sizes) == 2 * EASED_ROUNDS + 1, "and one as large as the quicker link wants"
    assert min(sizes[1::2]) > PROBE_BYTES_MAX / 2
    assert probe_s(links) < 0.01
    assert tick(90.0, 45.5) == []
    assert tick(10.0, 45.6) == [], "it was measured only now"
    assert tick(10.0, 40.0 + 2 * EASED_REST_S + 0.3) != []


def test_a_link_is_measured_anew_once_the_way_back_is_quicker() -> None:
    """A camera's radio was slow, both ways; its frames have found out, its edge node has not."""
    links = measured(1e5)
    slow, quick = (told(caps("cloud-1", CLOUD), 10.0, rate) for rate in (1e5, 6e6))
    assert links.tick(MINE, [slow], False, 43.5) == []
    found = links.tick(MINE, [quick], False, 43.7)
    assert len(until_quiet(links, found, 6e6, 43.7)) >= 2 * EASED_ROUNDS
    assert probe_s(links) < 0.02
    assert links.tick(MINE, [quick], False, 49.0) == []


def test_a_link_is_not_measured_anew_where_frames_tell_of_it() -> None:
    for used_s, is_told in ((60.0 - EASED_REST_S / 2, True), (50.0, False)):
        links = measured(1e7)
        link = links.links["cloud-1"]
        for now_s, load, rate in ((51.0, 90.0, 1e6), (60.0, 10.0, 6e6)):
            link.used_s, link.rated_s = min(now_s, used_s), now_s
            ends = [told(MINE, load), told(caps("cloud-1", CLOUD), 5.0, rate)]
            found = links.tick(MINE, ends, False, now_s)
        assert (found == []) is is_told


def test_frames_are_no_load_that_goes() -> None:
    links = measured(1e7)
    for now_s, load, frames in ((50.0, 90.0, 0.85), (60.0, 10.0, 0.05)):
        links.links["cloud-1"].rated_s = now_s
        ends = [told(MINE, load, frames=frames), told(caps("cloud-1", CLOUD), 5.0)]
        assert links.tick(MINE, ends, False, now_s) == []


def test_while_frames_pass_a_link_that_they_avoid_is_probed_small_and_often() -> None:
    links = measured(4e6 / 8)
    alive = [peer(caps("cloud-1", CLOUD))]
    assert links.tick(MINE, alive, False, 39.3 + PROBE_LIVE_S) == []
    found = links.tick(MINE, alive, True, 39.3 + PROBE_LIVE_S)
    rate = links.report(99.0)["cloud-1"].bytes_per_s
    sizes = [each.message.size_bytes for each in until_quiet(links, found, 4e6 / 8, 42.0)]
    assert sizes == [PROBE_SMALL_BYTES, min(PROBE_BYTES_MAX, int(PROBE_TAKES_S * rate))]


def test_frames_of_one_size_leave_delay_and_rate_to_small_probes() -> None:
    """Both nodes were busy starting, and what they took for the delay is not believed for ever."""
    rate, delay_s, now_s = 50e6 / 8, 0.002, 1.2
    links = Neighbours("edge-1")
    links.tick(MINE, [peer(caps("cloud-1", CLOUD))], False, 1.0)
    found = links.on_up("cloud-1", 1, 1.1)
    while found:
        (probe,) = found
        found = receipt(links, probe, 0.06, now_s)
    alive = [peer(caps("cloud-1", CLOUD))]
    for _ in range(30):
        now_s += 0.5
        transferred(links, "cloud-1", 150_000, delay_s + 150_000 / rate, now_s)
        until_quiet(links, links.tick(MINE, alive, True, now_s), rate, now_s)
    known = links.report(99.0)["cloud-1"]
    assert known.bytes_per_s == pytest.approx(rate, rel=0.1)
    assert known.delay_s == pytest.approx(delay_s, abs=0.001)


def test_a_link_that_only_carries_results_is_left_alone() -> None:
    links = measured(4e6 / 8)
    alive = [peer(caps("cloud-1", DEVICE))]
    assert links.tick(MINE, alive, True, 39.3 + PROBE_LIVE_S) == []
    (probe,) = links.tick(MINE, alive, True, 39.3 + PROBE_SMALL_S)
    assert isinstance(probe, SendProbe)
    assert probe.message.size_bytes == PROBE_SMALL_BYTES


def test_a_link_that_got_quick_is_known_to_be_after_one_look() -> None:
    """It was slow, so no frame goes over it: one probe that is far off asks for the next."""
    slow, quick = 4e6 / 8, 50e6 / 8
    links = measured(slow)
    alive = [peer(caps("cloud-1", CLOUD))]
    found = links.tick(MINE, alive, True, 100.0)
    now_s, sent = 100.0, 0
    while found:
        (probe,) = found
        assert isinstance(probe, SendProbe)
        size = probe.message.size_bytes
        now_s, sent = now_s + 0.01, sent + size
        found = receipt(links, probe, 0.002 + size / quick, now_s)
    assert links.report(99.0)["cloud-1"].bytes_per_s == pytest.approx(quick, rel=0.3)
    assert sent < 110_000


def test_a_frame_that_took_far_too_long_is_followed_by_probes_at_once() -> None:
    quick, slow = 50e6 / 8, 4e6 / 8
    links = measured(quick)
    found, now_s = transferred(links, "cloud-1", 150_000, 0.002 + 150_000 / slow, 50.0), 50.0
    while found:
        (probe,) = found
        assert isinstance(probe, SendProbe)
        now_s += 0.2
        found = receipt(links, probe, 0.002 + probe.message.size_bytes / slow, now_s)
    assert now_s > 50.0
    assert links.report(99.0)["cloud-1"].bytes_per_s == pytest.approx(slow, rel=0.3)


def test_a_quick_link_that_carries_small_messages_is_seldom_probed() -> None:
    """Were it slow by now, a probe would stand in their way."""
    for rate, is_probed in ((50e6 / 8, False), (4e6 / 8, True)):
        links, sizes = measured(rate), set[int]()
        alive = [peer(caps("cloud-1", CLOUD))]
        for at in range(80):
            now_s = 39.0 + at / 10
            transferred(links, "cloud-1", 5_000, 0.002 + 5_000 / rate, now_s)
            found = links.tick(MINE, alive, True, now_s)
            sizes |= {each.message.size_bytes for each in until_quiet(links, found, rate, now_s)}
        assert PROBE_SMALL_BYTES in sizes
        assert (len(sizes) > 1) == is_probed


@pytest.mark.parametrize("is_shared", [True, False])
def test_where_one_link_got_slow_the_others_of_this_node_are_looked_at(is_shared: bool) -> None:
    """A camera's radio; the plan would lead over its next link otherwise, as slow as the first.
    Until that is known it is presumed."""
    quick, slow = 50e6 / 8, 4e6 / 8
    links, alive = Neighbours("cam-1"), [peer(caps("cloud-1", CLOUD)), peer(caps("edge-1", EDGE))]
    camera = caps("cam-1", DEVICE)
    links.tick(camera, alive, True, 1.0)
    rates = {"cloud-1": quick, "edge-1": quick}
    for name in rates:
        settle(links, links.on_up(name, 1, 1.1), rates, 1.2)
    for at in range(30):
        now_s = 10.0 + at / 2
        transferred(links, "cloud-1", 150_000, 0.002 + 150_000 / quick, now_s)
        settle(links, links.tick(camera, alive, True, now_s), rates, now_s)
    rates = {"cloud-1": slow, "edge-1": slow if is_shared else quick}
    found = transferred(links, "cloud-1", 150_000, 0.002 + 150_000 / slow, 25.5)
    (look,) = found
    assert isinstance(look, SendProbe)
    size = look.message.size_bytes
    assert links.report(99.0)["edge-1"].bytes_per_s == pytest.approx(quick, rel=0.3)
    found = transferred(links, "cloud-1", size, 0.002 + size / slow, 25.6)
    assert links.report(25.7)["edge-1"].bytes_per_s == pytest.approx(slow, rel=0.5), "presumed"
    assert links.report(25.7 + PRESUMED_S)["edge-1"].bytes_per_s == pytest.approx(quick, rel=0.3)
    assert "edge-1" in settle(links, found, rates, 25.6)
    for name, rate in rates.items():
        assert links.report(25.7)[name].bytes_per_s == pytest.approx(rate, rel=0.3)
    again = transferred(links, "cloud-1", 150_000, 0.002 + 150_000 / slow, 26.0)
    assert "edge-1" not in settle(links, again, rates, 26.1)


@pytest.mark.parametrize("is_after", [True, False])
def test_a_link_is_known_by_what_left_after_the_message_that_showed_the_step(
    is_after: bool,
) -> None:
    """A rate that was told a moment ago, by what crossed before, says nothing of the radio now."""
    quick, slow = 50e6 / 8, 4e6 / 8
    links, alive = Neighbours("cam-1"), [peer(caps("cloud-1", CLOUD)), peer(caps("edge-1", EDGE))]
    links.tick(caps("cam-1", DEVICE), alive, True, 1.0)
    rates = {"cloud-1": quick, "edge-1": quick}
    for name in rates:
        settle(links, links.on_up(name, 1, 1.1), rates, 1.2)
    for at in range(20):
        transferred(links, "cloud-1", 150_000, 0.002 + 150_000 / quick, 20.0 + at / 4)
    slow_s = 0.002 + 150_000 / slow
    late = transferred(links, "cloud-1", 150_000, slow_s, 25.0)
    found_s = 25.0 + slow_s + 0.05
    transferred(links, "edge-1", 65_536, 0.01, found_s - 0.02 if is_after else 25.0 - slow_s)
    size = late[0].message.size_bytes if isinstance(late[0], SendProbe) else 0
    took_s = 0.002 + size / slow
    again = links.on_transferred(Transferred("cloud-1", size, took_s, handed_s=25.05), found_s)
    assert links.links["cloud-1"].estimate.steps == 1
    is_asked = any(isinstance(each, SendProbe) and each.peer == "edge-1" for each in again)
    assert is_asked == (not is_after)
    presumed = links.report(found_s)["edge-1"].bytes_per_s
    assert presumed == pytest.approx(quick if is_after else slow, rel=0.5)


def settle(
    links: Neighbours, found: list[Effect], rates: dict[str, float], now_s: float
) -> list[str]:
    """Answers probes on every link, as quick as it is; who was probed."""
    asked = []
    while found:
        probe = found.pop(0)
        assert isinstance(probe, SendProbe)
        asked.append(probe.peer)
        size, now_s = probe.message.size_bytes, now_s + 0.01
        found += transferred(links, probe.peer, size, 0.002 + size / rates[probe.peer], now_s)
    return asked


def test_hiccups_of_a_busy_machine_ask_for_few_probes() -> None:
    quick, asked = 50e6 / 8, 0
    links = measured(quick)
    for at in range(200):
        often = 3.0 if at % 3 == 0 else 1.0
        found = transferred(
            links, "cloud-1", 150_000, often * (0.002 + 150_000 / quick), 50 + at * 0.1
        )
        while found:
            asked += 1
            found = receipt(links, found[0], 0.002 + 65536 / quick, 50 + at * 0.1 + 0.01)
    assert asked <= 21


def test_bytes_sent_are_counted_by_their_headers(links: Neighbours) -> None:
    heads = (TensorHead("a", "float32", (1, 3, 4)), TensorHead("b", "uint8", (5,)))
    links.count("cloud-1", heads)
    links.count("nobody", heads)
    assert links.report(99.0)["cloud-1"].sent_bytes == 53
