"""Why a plan is as it is, in one sentence with numbers."""

from __future__ import annotations

from edgeflow.costmodel.cost import CostModel, Terms
from edgeflow.layout.placement import Layout, TileMap, nodes_of, tile_maps
from edgeflow.planning.candidates import Problem
from edgeflow.planning.goal import Goal, Scale
from edgeflow.planning.whole import TIERS

SEARCHED = ("mincut", "brute")
"""Algorithms that looked for the best plan; what others say is theirs alone."""


def explain(
    problem: Problem,
    placement: Layout,
    terms: Terms,
    algorithm: str,
    untiled_s: float | None = None,
) -> str:
    """The sentence, without the proof: "split: …", "do not split: …" or "tiles …"; `untiled_s` is
    what the best plan without tiles takes."""
    used = _used(placement)
    made_of = _made_of(problem.costs, terms)
    if untiled_s is not None:
        rest = [where for where in dict.fromkeys(placement.values()) if isinstance(where, str)]
        beside = f", the rest on {', '.join(rest)}" if rest else ""
        return (
            f"{_tiled(placement)}{beside}: {_ms(terms.total_s)}, against {_ms(untiled_s)} untiled "
            f"({made_of})"
        )
    total = _ms(terms.total_s)
    if algorithm in TIERS:
        return f"{algorithm} as asked: all on {used[0]} takes {total} ({made_of})"
    if algorithm not in SEARCHED:
        return f"placed {_by(algorithm)} on {', '.join(used)}: {total} ({made_of})"
    if len(used) == 1:
        return (
            f"do not split: all on {used[0]} is fastest, {total} ({made_of})"
            f"{_instead(problem, used)}"
        )
    return f"split over {', '.join(used)}: {total} ({made_of}){_instead(problem, used)}"


def explain_proof(lower_bound_s: float, predicted_s: float, *, optimal: bool) -> str:
    """How good it is known to be."""
    if optimal:
        return "optimal for the additive cost model and the current estimates"
    saved = 1 - lower_bound_s / predicted_s
    return f"no plan takes less than {_ms(lower_bound_s)} (bound: at most {saved:.1%} less)"


def _used(layout: Layout) -> list[str]:
    """All nodes that compute, in the order of the layers."""
    every = (
        [where] if isinstance(where, str) else [node for node, _ in where.tiles]
        for where in dict.fromkeys(layout.values())
    )
    return list(dict.fromkeys(node for nodes in every for node in nodes))


def _tiled(layout: Layout) -> str:
    """What is tiled over whom: neighbouring maps of the same workers in one."""
    runs: list[tuple[str, str, frozenset[str]]] = []
    last: str | TileMap = ""
    for where in dict.fromkeys(layout.values()):
        if isinstance(where, TileMap):
            workers = frozenset(nodes_of({"": where}))
            follows = isinstance(last, TileMap) and runs[-1][2] == workers
            first = runs.pop()[0] if follows else where.layers[0]
            runs.append((first, where.layers[-1], workers))
        last = where
    said = [f"{first}..{last} over {', '.join(sorted(nodes))}" for first, last, nodes in runs]
    count = len(tile_maps(layout))
    return f"tiles {', '.join(said)}{f' in {count} maps' if count > 1 else ''}"


def explain_goal(
    problem: Problem, scale: Scale, placement: Layout, terms: Terms, algorithm: str
) -> str:
    """The sentence where the plan is for throughput or little traffic."""
    used = _used(placement)
    if algorithm in TIERS:
        where = f"{algorithm} as asked: all on {used[0]}"
    elif algorithm not in SEARCHED:
        where = f"placed {_by(algorithm)} on {', '.join(used)}"
    else:
        where = f"all on {used[0]}" if len(used) == 1 else f"split over {', '.join(used)}"
    one = f"one frame takes {_ms(terms.total_s)} ({_made_of(problem.costs, terms)})"
    value = scale.value(terms)
    if scale.goal.objective == "traffic":
        return f"for little traffic {where}: {_size(int(value))} a frame over the backbone, {one}"
    stages = scale.stages(terms)
    sender, receiver = max(stages, key=lambda stage: stages[stage], default=("", ""))
    stage = f"on {sender}" if sender == receiver else f"from {sender} to {receiver}"
    rate = f", {1 / value:.3g} frames/s at most" if value > 0 else ""
    return f"for throughput {where}: the slowest stage takes {_ms(value)} {stage}{rate}; {one}"


def explain_goal_proof(objective: str, value: float, bound: float, *, optimal: bool) -> str:
    """How good it is known to be, for what it is asked for."""
    if optimal:
        return "optimal for the cost model and the current estimates"
    saved = 1 - bound / value
    if objective == "traffic":
        return f"no such plan sends less than {_size(int(bound))} (bound: at most {saved:.1%} less)"
    return f"no plan has a slowest stage below {_ms(bound)} (bound: at most {saved:.1%} less)"


def explain_constraints(goal: Goal, limit_s: float) -> str:
    """What had to be kept, to be joined to a sentence; empty where nothing had."""
    said = f"; within {_ms(limit_s)}" if limit_s < float("inf") else ""
    if goal.private:
        last, tier = goal.private_layer, goal.private_tier
        what = f"all before the output of {last}" if last else "the raw input"
        said += f"; {what} stays on {tier} or below"
    return said


def _instead(problem: Problem, used: list[str]) -> str:
    """What the undivided network would take elsewhere, best first."""
    if problem.pinned:
        return ", with layers pinned"
    nodes = [node.name for nodes in problem.useful().values() for node in nodes]
    prices = {name: problem.undivided_s(name) for name in nodes}
    others = sorted((price, name) for name, price in prices.items() if [name] != used)[:3]
    if not others:
        return ", the only node that computes"
    return ", against " + ", ".join(f"{_ms(price)} all on {name}" for price, name in others)


def _by(algorithm: str) -> str:
    return algorithm if algorithm == "by hand" else f"by {algorithm}"


def _made_of(costs: CostModel, terms: Terms) -> str:
    parts = [f"{_ms(seconds)} on {node}" for node, seconds in terms.compute_s.items()]
    if terms.tiles:
        # What runs at the same time does not add up.
        return f"busy: {', '.join(parts)}; {_size(sum(terms.bytes.values()))} sent"
    for (sender, receiver), seconds in terms.transfer_s.items():
        size = _size(terms.bytes[sender, receiver])
        rate = costs.cluster.links[sender, receiver].bytes_per_s * 8e-6
        parts.append(f"{_ms(seconds)} for {size} {sender} to {receiver} at {rate:.3g} Mbit/s")
    if terms.way_back_s > 0:
        parts.append(f"{_ms(terms.way_back_s)} back")
    return " + ".join(parts)


def _ms(seconds: float) -> str:
    if seconds == float("inf"):
        return "impossible"
    return f"{seconds * 1e3:.0f} ms" if seconds >= 0.0995 else f"{seconds * 1e3:.3g} ms"


def _size(nbytes: int) -> str:
    return f"{nbytes / 1e6:.3g} MB" if nbytes >= 1e6 else f"{nbytes / 1e3:.3g} kB"
