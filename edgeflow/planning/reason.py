"""Why a plan is as it is, in one sentence with numbers."""

from __future__ import annotations

from edgeflow.cost import CostModel, Terms
from edgeflow.placement import Placement
from edgeflow.planning.candidates import Problem
from edgeflow.planning.whole import TIERS


def explain(problem: Problem, placement: Placement, terms: Terms, algorithm: str) -> str:
    """The sentence, without the proof: "split: …" or "do not split: …"."""
    used = list(dict.fromkeys(placement.values()))
    made_of = _made_of(problem.costs, terms)
    total = _ms(terms.total_s)
    if algorithm in TIERS:
        return f"{algorithm} as asked: all on {used[0]} takes {total} ({made_of})"
    if algorithm == "by hand":
        return f"placed by hand on {', '.join(used)}: {total} ({made_of})"
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


def _made_of(costs: CostModel, terms: Terms) -> str:
    parts = [f"{_ms(seconds)} on {node}" for node, seconds in terms.compute_s.items()]
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
