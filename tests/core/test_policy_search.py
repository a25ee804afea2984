"""Cuts found by measured frames alone: how many frames that takes, and what opens it again."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from statistics import mean

import pytest
from msgspec.structs import replace

from edgeflow.planning import PlanningError
from edgeflow.policy.cuts import Cuts
from edgeflow.policy.partnner import Partnner
from edgeflow.policy.profile_first import FRAMES, ProfileFirst
from edgeflow.policy.search import DRIFT_FRAMES, REST_FRAMES, Search
from tests.core.asking import SPEC, Asked, cluster

Latency = Callable[[int], float]


def valley(best: int, slope_s: float = 0.01) -> Latency:
    """Latency that grows on both sides of a cut."""
    return lambda place: 0.05 + slope_s * abs(place - best)


def scaled(latency_s: Latency, times: float) -> Latency:
    """The same, so many times as long."""
    return lambda place: times * latency_s(place)


def shaped(asked: Asked, mbps: float, device: float = 1.0) -> Latency:
    """As cuts of a network behave: a slow device, a tensor over a thin link, a quick server."""
    cuts = Cuts.of(asked.question())
    count = len(cuts.lines) - 1

    def latency_s(place: int) -> float:
        crossing_s = cuts.crossing_bytes[place] / (mbps * 125_000)
        return 0.3 * device * place / count + crossing_s + 0.03 * (1 - place / count)

    return latency_s


def place(asked: Asked) -> int:
    """The cut that runs."""
    assert isinstance(asked.policy, Search)
    assert asked.policy.cuts is not None
    found = asked.policy.cuts.place_of(asked.line)
    assert found is not None
    return found


def play(asked: Asked, latency_s: Latency, frames: int, seed: int = 0, noise: float = 0.0) -> int:
    """So many frames; how many of them came while a search was open."""
    chance, searching = random.Random(seed), 0
    assert isinstance(asked.policy, Search)
    for _ in range(frames):
        asked.frame(latency_s(place(asked)) * (1 + noise * (2 * chance.random() - 1)))
        asked.review()
        searching += asked.policy.is_open
    return searching


def lines(asked: Asked) -> int:
    assert isinstance(asked.policy, Search)
    assert asked.policy.cuts is not None
    return len(asked.policy.cuts.lines)


@pytest.mark.parametrize("best", [0, 3, 7, 12])
def test_profile_first_measures_every_cut_and_takes_the_best(best: int) -> None:
    asked = Asked(ProfileFirst())
    asked.first()
    count = lines(asked)
    searching = play(asked, valley(best), 3 * count + 20)
    assert searching == FRAMES * count - 1, "the last frame ends it"
    assert place(asked) == best
    assert len(set(asked.tried)) == count
    kinds = [choice.kind for choice in asked.choices]
    assert set(kinds[:-1]) == {"explored"}
    assert kinds[-1] == "better"
    assert f"the least of {count} cuts tried of {count}" in asked.choices[-1].why


@pytest.mark.parametrize(("mbps", "device"), [(1, 1), (4, 1), (8, 1), (50, 1), (50, 0.05), (8, 8)])
def test_partnner_finds_a_cut_as_good_in_a_fraction_of_the_frames(
    mbps: float, device: float
) -> None:
    asked = Asked(Partnner())
    asked.first()
    latency_s, count = shaped(asked, mbps, device), lines(asked)
    searching = play(asked, latency_s, 60)
    best_s = min(map(latency_s, range(count)))
    assert latency_s(place(asked)) <= 1.05 * best_s
    assert searching <= FRAMES * count / 2


def made_up(chance: random.Random) -> tuple[Cuts, Latency]:
    """A chain of 12 to 24 layers, tensors that shrink unevenly, a server 3 to 30 times as quick."""
    count = chance.randint(12, 24)
    nbytes = [chance.uniform(0.3, 3.0) * 1e6 * 0.8**at for at in range(count)] + [0.0]
    work_s = [chance.uniform(0.005, 0.03) for _ in range(count)]
    byte_s, quicker = 8 / chance.uniform(2e6, 100e6), chance.uniform(3, 30)

    def latency_s(place: int) -> float:
        near_s, far_s = sum(work_s[:place]), sum(work_s[place:]) / quicker
        return near_s + far_s + nbytes[place] * byte_s

    names = tuple(f"cut {at}" for at in range(count + 1))
    return Cuts("cam", "cloud", names, ({},) * len(names), tuple(map(int, nbytes))), latency_s


def searched(search: Search, latency_s: Latency, chance: random.Random, noise: float) -> int:
    """Frames until nothing is left to try."""
    frames = 0
    while (place := search.following()) is not None:
        taken_s: list[float] = []
        while not search.enough(taken_s):
            taken_s.append(latency_s(place) * (1 + noise * (2 * chance.random() - 1)))
        search.took_s[place] = mean(taken_s)
        frames += len(taken_s)
    return frames


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_over_chains_of_thirteen_to_twenty_five_cuts_partnner_takes_a_quarter_of_the_frames(
    noise: float,
) -> None:
    chance, ratios, frames, every = random.Random(7), [], [], []
    for _ in range(200):
        cuts, latency_s = made_up(chance)
        search, rival = Partnner(cuts=cuts), ProfileFirst(cuts=cuts)
        frames.append(searched(search, latency_s, chance, noise))
        every.append(searched(rival, latency_s, chance, noise))
        found = min(search.took_s, key=search.took_s.__getitem__)
        ratios.append(latency_s(found) / min(map(latency_s, range(len(cuts.lines)))))
    assert 39 <= min(every) <= max(every) <= 75
    assert mean(every) / mean(frames) > 4
    assert max(frames) <= 24
    assert mean(ratio <= 1.05 for ratio in ratios) > 0.9
    assert mean(ratios) < 1.03


@pytest.mark.parametrize("policy", [Partnner, ProfileFirst])
def test_a_settled_search_is_left_alone_by_noise_and_opened_by_a_drift(
    policy: type[Search],
) -> None:
    asked = Asked(policy())
    asked.first()
    play(asked, valley(3), 70)
    assert play(asked, valley(3), 400, seed=1, noise=0.2) == 0
    asked.cluster = cluster(cam_edge_mbps=2.0, cloud_mbps=2.0)
    tried = len(asked.tried)
    play(asked, lambda place: 2 * valley(9)(place), DRIFT_FRAMES + FRAMES)
    assert len(asked.tried) > tried, "opened, and what runs measured anew"
    play(asked, lambda place: 2 * valley(9)(place), 60)
    assert place(asked) == 9


def test_a_search_in_vain_makes_the_next_one_wait_for_longer() -> None:
    asked = Asked(Partnner())
    asked.first()
    play(asked, valley(0), 30)
    rest, level = REST_FRAMES, 1.0
    for _ in range(4):
        level *= 1.6  # everything is slower, and the same cut stays the best one
        assert place(asked) == 0
        play(asked, scaled(valley(0), level), 60)
        assert isinstance(asked.policy, Search)
        assert asked.policy.rest_frames == 2 * rest
        rest = asked.policy.rest_frames


def test_a_cut_that_cannot_be_prepared_counts_as_infinite() -> None:
    asked = Asked(ProfileFirst())
    asked.first()
    cuts = Cuts.of(asked.question())
    asked.refuses = lambda line: line == cuts.lines[5]
    play(asked, valley(5), 60)
    assert isinstance(asked.policy, Search)
    assert asked.policy.took_s[5] == math.inf
    assert place(asked) in (4, 6)


def test_a_cut_is_abandoned_once_its_first_frame_is_much_worse() -> None:
    search = Partnner(took_s={0: 0.1})
    assert search.enough([0.14])
    assert not search.enough([0.12])
    assert search.enough([0.12, 0.12])
    assert not search.enough([])


def test_frames_that_came_while_things_changed_do_not_count_for_the_cut_that_runs() -> None:
    asked = Asked(Partnner())
    asked.first()
    play(asked, scaled(valley(0), 4), 40)
    for level in (2, 2, 2, 1):  # the median of the last five is of neither time
        play(asked, scaled(valley(0), level), 1)
    play(asked, valley(0), 40)
    assert isinstance(asked.policy, Search)
    assert asked.policy.took_s[0] == pytest.approx(valley(0)(0))
    assert place(asked) == 0


def test_a_trial_is_not_late_while_frames_of_the_one_before_are_under_way() -> None:
    asked = Asked(Partnner())
    asked.first()
    play(asked, valley(0), 2)
    asked.waiting, asked.is_draining = 2, True
    assert asked.review(30.0) is None
    asked.is_draining = False
    assert asked.review(0.5) is None
    assert asked.review(10.0) is not None


def test_a_trial_that_answers_nothing_while_frames_wait_is_left() -> None:
    asked = Asked(Partnner())
    asked.first()
    play(asked, valley(0), 2)
    stuck = place(asked)
    assert asked.review(10.0) is None, "nobody sends anything"
    asked.waiting = 2
    assert asked.review(10.0) is not None
    assert isinstance(asked.policy, Search)
    assert asked.policy.took_s[stuck] > 10.0


def test_without_frames_a_search_waits() -> None:
    asked = Asked(Partnner())
    asked.first()
    for _ in range(100):
        assert asked.review() is None
    assert not asked.policy.is_searching(asked.now_s), "stand-ins may be prepared meanwhile"


def test_a_new_leader_starts_the_search_anew_in_the_middle_of_one() -> None:
    asked = Asked(ProfileFirst())
    asked.first()
    play(asked, valley(6), 20)
    asked.policy, asked.tried = ProfileFirst(), [asked.line]
    asked.review()
    play(asked, valley(6), 60)
    assert len(set(asked.tried)) == lines(asked), "all of them, from the first on"
    assert place(asked) == 6


def test_frames_from_before_a_trial_do_not_count_for_it() -> None:
    asked = Asked(ProfileFirst())
    asked.first()
    for _ in range(9):
        asked.frame(9.9)
    asked.policy = ProfileFirst()  # a new leader: the cut that runs is the one it tries first
    asked.review()
    play(asked, valley(2), FRAMES)
    assert isinstance(asked.policy, Search)
    assert asked.policy.took_s[0] == pytest.approx(valley(2)(0))


def test_where_a_plan_breaks_the_best_known_cut_stands_in() -> None:
    asked = Asked(Partnner())
    asked.first()
    play(asked, valley(0), 3)
    broken = place(asked)
    assert broken != 0
    asked.first()
    assert place(asked) == 0
    play(asked, valley(0), 30)
    assert isinstance(asked.policy, Search)
    assert asked.policy.took_s[broken] == math.inf


def test_another_server_opens_the_search_anew_and_all_local_needs_none() -> None:
    asked = Asked(Partnner())
    asked.first()
    play(asked, valley(2), 30)
    assert "cloud" in asked.line
    asked.cluster = cluster(edge=False, cloud_mbps=20.0)
    nodes = {name: node for name, node in asked.cluster.nodes.items() if name == "cam"}
    asked.cluster = type(asked.cluster)(nodes, {}, "cam")
    asked.first()
    assert asked.line.endswith("@cam")
    assert lines(asked) == 1
    asked.cluster = cluster()
    play(asked, valley(2), 40)
    assert lines(asked) > 1
    assert place(asked) == 2


def test_what_is_private_is_never_tried() -> None:
    asked = Asked(ProfileFirst(), spec=replace(SPEC, private="conv1@device"))
    asked.first()
    play(asked, valley(0), 60)
    assert all("conv1 @cam" in line or ".." in line.split("@")[0] for line in asked.tried)
    assert not any(line.endswith("@cloud") and "@cam" not in line for line in asked.tried)


def test_where_no_cut_can_be_run_that_is_said() -> None:
    asked = Asked(Partnner(), spec=replace(SPEC, latency_s_max=1e-6))
    with pytest.raises(PlanningError, match="none of 14 cuts can be run"):
        asked.first()
