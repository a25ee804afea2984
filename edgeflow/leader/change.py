"""What may change in a fleet, or be otherwise than it is believed to be.

    the fleet as believed ─▶ changes
      a node's links STEP times as slow, or as fast
      a node SLOWER times as slow, or without its present load
      a node or link whose cost is a guess, if it were GUESS times as good

What has changed since: a link that came, and conditions that moved so far that others are likely.

Invariant: pure; what makes an unused node worse is no change.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import NamedTuple

from edgeflow.costmodel.cost import Cluster, LinkCost
from edgeflow.policy.survey import GUESSED

STEP = 12.0
"""Wi-Fi goes from 50 to 4 Mbit/s when a door is closed. Plans of steps between lie between."""
SLOWER = 5.0
"""A core that four others share."""
BUSY = 1.5
"""A node so many times as slow as when it was timed has a load that may go."""
GUESS = 2.0
"""What is only guessed may be so many times better: more tries what is hardly ever worth it."""
SERVED, SERVED_IDLE = 1.1, 1.02
"""A scene needs nothing where something prepared is at most so much slower than its best plan. Of a
node whose load may go less: that it went is known from frames that compute there, and who has only
the last layer there, in a plan that serves nearly as well, never learns it."""
MOVED = 2.0
"""Rates or speeds that are so many times others make other plans the likely ones."""


class Change(NamedTuple):
    """What may come."""

    what: str
    """In words, behind "if"."""
    cluster: Cluster
    weight: float
    """How likely, beside the others."""
    served: float = SERVED
    """By something that takes at most so many times as long as its best plan."""


def changes(cluster: Cluster, used: Collection[str]) -> Iterator[Change]:
    """What may come, for a plan on `used` nodes; what makes an unused node worse is nothing."""
    for name, node in sorted(cluster.nodes.items()):
        is_used = name in used or name == cluster.source
        if is_used:
            slow = f"the links of {name} get {STEP:g} times as slow"
            yield Change(slow, _linked(cluster, name, 1 / STEP), 1.0)
        fast = f"the links of {name} get {STEP:g} times as fast"
        yield Change(fast, _linked(cluster, name, STEP), 0.5)
        if node.rates is None:
            continue
        if name in used:
            slow = f"{name} gets {SLOWER:g} times as slow"
            yield Change(slow, _paced(cluster, name, node.ratio * SLOWER), 0.8)
        if node.layers_s and node.ratio >= BUSY:
            yield Change(f"{name} gets idle", _paced(cluster, name, 1.0), 1.0, SERVED_IDLE)
        if name not in used and _is_guessed(cluster, name):
            better = f"{name} is {GUESS:g} times as good as guessed"
            yield Change(better, _brighter(cluster, name), 0.9)


def has_come(before: Cluster | None, now: Cluster) -> bool:
    """Whether a link is there that was not: who joins is heard of before its links are."""
    return before is not None and any(
        ends not in before.links and _has_part(now, *ends) for ends in now.links
    )


def has_moved(before: Cluster, now: Cluster) -> bool:
    """Whether a node or link is so much better or worse that other plans are the likely ones."""
    links = [each for each in now.links.keys() & before.links.keys() if _has_part(now, *each)]
    nodes = now.nodes.keys() & before.nodes.keys()
    return any(
        _is_apart(now.links[each].bytes_per_s, before.links[each].bytes_per_s) for each in links
    ) or any(_is_apart(now.nodes[each].ratio, before.nodes[each].ratio) for each in nodes)


def _is_apart(one: float, other: float) -> bool:
    return max(one, other) > MOVED * min(one, other)


def _is_guessed(cluster: Cluster, name: str) -> bool:
    """Was it never seen computing this model, or a link of it never measured?"""
    links = (link for ends, link in cluster.links.items() if name in ends)
    return cluster.nodes[name].deviation >= GUESSED or any(_vague(link) for link in links)


def _vague(link: LinkCost) -> bool:
    return link.deviation >= GUESSED


def _linked(cluster: Cluster, name: str, factor: float) -> Cluster:
    """With what limits that node's links so many times as fast; of a faster one the other end may
    be the limit then."""
    links = dict(cluster.links)
    for ends, link in cluster.links.items():
        if name in ends and _has_part(cluster, *ends):
            side = ends.index(name)
            own = max(_to_others(cluster, name, side))
            rate = min(link.bytes_per_s, own * factor)
            if factor > 1:
                rate = max(rate, min(own * factor, _beyond(cluster, ends, 1 - side)))
            links[ends] = replace(link, bytes_per_s=rate)
    return replace(cluster, links=links)


def _beyond(cluster: Cluster, ends: tuple[str, str], side: int) -> float:
    """The fastest link of that end to somebody else, that way; infinite where there is none."""
    return max(_to_others(cluster, ends[side], side, but=ends), default=math.inf)


def _to_others(
    cluster: Cluster, name: str, side: int, but: tuple[str, str] | None = None
) -> Iterator[float]:
    """Rates of its links on that side."""
    return (
        link.bytes_per_s
        for at, link in cluster.links.items()
        if at[side] == name and at != but and _has_part(cluster, *at)
    )


def _has_part(cluster: Cluster, *ends: str) -> bool:
    """Whether a plan may use that link: who only hands frames in may be on the same machine, and
    what links it tells nothing of a radio."""
    nodes = [cluster.nodes.get(name) for name in ends if name != cluster.source]
    return all(node is not None and node.rates is not None for node in nodes)


def _paced(cluster: Cluster, name: str, ratio: float) -> Cluster:
    """With that node so many times as slow as it was timed."""
    node = replace(cluster.nodes[name], ratio=ratio)
    return replace(cluster, nodes={**cluster.nodes, name: node})


def _brighter(cluster: Cluster, name: str) -> Cluster:
    """With all that is guessed of that node GUESS times as good."""
    node = cluster.nodes[name]
    if node.deviation >= GUESSED:
        cluster = _paced(cluster, name, node.ratio / GUESS)
    links = {
        ends: replace(link, bytes_per_s=link.bytes_per_s * GUESS)
        if name in ends and _vague(link)
        else link
        for ends, link in cluster.links.items()
    }
    return replace(cluster, links=links)
