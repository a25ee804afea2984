"""Reading a board, and what the nodes said of its plans.

Invariant: pure; nothing in here decides anything but whether a plan is drained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from msgspec.structs import replace

from edgeflow.layout.placement import nodes_named
from edgeflow.leader.prices import Price, Prices
from edgeflow.messages import Board, Claim, Fallback, Plan, PlanId, Spec, Status
from edgeflow.plans.deployments import View
from edgeflow.plans.holding import READY

STUCK_S = 15.0
"""PREPARE without a byte of progress for so long is given up: the slowest node is left out."""
BUILD_S = 180.0
"""With every byte at hand a node may check, load and warm up for so long: half a gigabyte takes a
tenth of a core some 40 s. Lower leaves slow nodes out; higher waits longer for one that hangs."""
Word = tuple[str, str]
"""(phase, sentence) of a Status."""


def adopted(spec: Spec, board: Board | None, claim: Claim) -> Board:
    """The board that a leader starts from. One of another leader that answers a later wish than is
    known now (a broker lost it) counts as answering an earlier one: readers tell boards of one
    claim apart by their generation, so under our claim it must not fall."""
    if board is None:
        return Board(spec.name, claim, spec.generation, None, None)
    if board.claim != claim and board.generation > spec.generation:
        return replace(board, generation=spec.generation - 1)
    return board


def emptied(spec: Spec, board: Board, retired: PlanId) -> Board:
    """No plan, and every plan up to `retired` is over; the same board where it says so already."""
    is_empty = not (board.preparing or board.committed or board.draining)
    is_same = board.retired is not None and board.claim == board.retired.claim == retired.claim
    if is_empty and is_same and board.generation == spec.generation:
        return board
    return Board(spec.name, retired.claim, spec.generation, None, None, retired=retired)


def holding_of(view: View, plan: Plan, node: str) -> tuple[str, int, str]:
    """(status, bytes at hand, why) that a node last said of a plan."""
    held = view.helds.get(node)
    if held is None or held.session != plan.sessions[node]:
        return "", 0, ""
    for holding in held.plans:
        if holding.hash == plan.hash and holding.id == plan.id:
            return holding.status, holding.have_bytes, holding.why
    return "", 0, ""


def fetched_bytes(view: View, plan: Plan) -> int:
    """Weights that its nodes lacked when they began to prepare a plan."""
    helds = [held for held in view.helds.values() if held.session == plan.sessions.get(held.node)]
    return sum(each.want_bytes for held in helds for each in held.plans if each.hash == plan.hash)


def patience_s(view: View, plan: Plan, late: Sequence[str]) -> float:
    """How long these nodes may be without progress: longer when all of them only build."""
    builds = all(holding_of(view, plan, node)[0] == "building" for node in late)
    return BUILD_S if builds else STUCK_S


def is_drained(view: View, plan: Plan, board: Board) -> bool:
    """The source uses a newer plan and has no open frame under this one; or it is gone."""
    held = view.helds.get(plan.source)
    if held is None or board.committed is None:
        return False
    if held.session != plan.sessions[plan.source]:
        return True
    newest = board.committed.id
    active = any(each.status == "active" and each.id >= newest for each in held.plans)
    status, _, _ = holding_of(view, plan, plan.source)
    return active and status not in ("active", "in-flight")


def describe(view: View, board: Board) -> Word:
    if board.preparing is not None:
        plan = board.preparing
        late = [node for node in plan.sessions if holding_of(view, plan, node)[0] not in READY]
        return "preparing", f"plan {plan.id}: waiting for {', '.join(late)}"
    if board.committed is None:
        return "waiting", "no plan yet"
    return "running", board.committed.reason


def fallbacks_of(plan: Plan, gaps: Mapping[str, str]) -> tuple[Fallback, ...]:
    """What the loss of each node means; `gaps` says why nothing stands in, where that is known."""
    used = nodes_named(plan.variants[0]) - {plan.source}
    found = []
    for lost in sorted(used):
        lines = (line for line in plan.variants if lost not in nodes_named(line))
        line = next(lines, "")
        found.append(Fallback(lost, line, "" if line else gaps.get(lost, "")[:500]))
    return tuple(found)


def standbys_of(plan: Plan, likely: Mapping[str, str]) -> tuple[str, ...]:
    """What is prepared beside fallbacks; `likely` says by placement line for which change."""
    lines = (line for line in plan.variants[1:] if line in likely)
    return tuple(f"if {likely[line]}: {line}"[:2000] for line in lines)


def status_of(
    spec: Spec,
    board: Board,
    word: Word,
    leader: str,
    prices: Prices,
    gaps: Mapping[str, str] = MappingProxyType({}),
    likely: Mapping[str, str] = MappingProxyType({}),
) -> Status:
    """Of the committed plan, or else of the prepared one, as things are now."""
    plan = board.committed or board.preparing
    price = prices.of(plan) if plan else Price(0.0)
    return Status(
        deployment=spec.name,
        model_name=spec.model_name,
        source=spec.source,
        phase=word[0],
        sentence=word[1],
        placement=plan.variants[0] if plan else "",
        predicted_s=price.seconds,
        lower_bound_s=plan.lower_bound_s if plan else 0.0,
        plan=str(plan.id) if plan else "",
        leader=leader,
        tiles=price.tiles,
        fallbacks=fallbacks_of(board.committed, gaps) if board.committed else (),
        standbys=standbys_of(board.committed, likely) if board.committed else (),
    )
