"""The same frames device-only, edge-only, cloud-only and as edgeflow plans them, in one run.

Each contestant is a deployment of its own, all at the same time on the same nodes. They take turns
in blocks, once forward and once backward, so that what drifts here drifts for all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from edgeflow.api import Flow
from edgeflow.demo.pictures import Photograph
from edgeflow.demo.tally import Tally, quantile_ms, same
from edgeflow.demo.world import CLOUD
from edgeflow.messages import Name
from edgeflow.mind.snapshot import Snapshot

RIVALS = ("device-only", "edge-only", "cloud-only")
EDGEFLOW = "edgeflow"
HEARTBEATS_S = 1.4
"""Counters of bytes come with the heartbeats: after a block, wait for the next."""
WARM_UP = 10
"""Frames of each contestant that do not count."""
STEADY_S = 11.0
"""edgeflow's plan has stayed for so long: longer than a leader keeps a plan it no longer likes."""
STEADY_S_MAX = 45.0
TIE = 1.02
"""Closer than this, nobody wins."""
MARGIN = 1.05
"""What planning may cost against the best undivided run."""


@dataclass(slots=True)
class Entry:
    """One contestant's figures."""

    name: Name
    latencies_s: list[float] = field(default_factory=list)
    errors: int = 0
    mismatches: int = 0
    uplink_bytes: int = 0
    plans: set[str] = field(default_factory=set)
    """Of the frames that count; more than one where the plan changed among them."""
    placement: str = ""
    predicted_ms: float = 0.0

    def report(self) -> dict[str, Any]:
        """For --json and the table."""
        frames = len(self.latencies_s)
        return {
            "frames": frames,
            "errors": self.errors,
            "mismatches": self.mismatches,
            "p50_ms": quantile_ms(self.latencies_s, 0.5),
            "p99_ms": quantile_ms(self.latencies_s, 0.99),
            "predicted_ms": round(self.predicted_ms, 1),
            "uplink_bytes_per_frame": round(self.uplink_bytes / frames) if frames else 0,
            "plans": len(self.plans),
            "placement": self.placement,
        }


def compete(
    flow: Flow,
    model: Path,
    photographs: Sequence[Photograph],
    tally: Tally,
    frames: int,
    say: Callable[[str], None],
) -> dict[str, Entry]:
    """`frames` a contestant, after some that do not count; `say` tells who is on."""
    entries = {name: Entry(name) for name in (*RIVALS, EDGEFLOW)}
    for name in entries:
        # edgeflow last: it plans with what the others' first frames taught it about each node.
        policy = "mincut" if name == EDGEFLOW else name
        say(f"  {name}: prepared and warmed up …")
        flow.deploy(model, name=name, policy=policy, window_frames=1, wait_s=90)
        warm_up(flow, name, photographs)
    half = frames // 2
    order = [(name, range(half)) for name in entries]
    order += [(name, range(half, frames)) for name in reversed(entries)]
    for name, indices in order:
        say(f"  {name}: {len(indices)} frames …")
        run_block(
            flow, entries[name], [photographs[at % len(photographs)] for at in indices], tally
        )
    for each in flow.snapshot().deployments:
        if each.name in entries:
            entries[each.name].placement = each.placement
            entries[each.name].predicted_ms = each.predicted_ms
    for name in entries:
        flow.undeploy(name)
    return entries


def warm_up(flow: Flow, name: str, photographs: Sequence[Photograph]) -> None:
    """Frames that do not count, until the plan has stayed for a while: its first may be a guess."""
    plan, since_s = "", time.monotonic()
    until_s = since_s + STEADY_S_MAX
    for at in count():
        result = flow.submit(photographs[at % len(photographs)].inputs, deployment=name).result()
        now_s = time.monotonic()
        if result.plan != plan:
            plan, since_s = result.plan, now_s
        steady_s = 0.0 if name in RIVALS else STEADY_S
        if (at + 1 >= WARM_UP and now_s - since_s >= steady_s) or now_s > until_s:
            break
    time.sleep(HEARTBEATS_S)


def run_block(flow: Flow, entry: Entry, block: Sequence[Photograph], tally: Tally) -> None:
    """One after the other: a frame has the cluster to itself."""
    before = uplink_bytes(flow.snapshot())
    for photograph in block:
        result = flow.submit(photograph.inputs, deployment=entry.name).result()
        if not result.ok:
            entry.errors += 1
            continue
        entry.plans.add(result.plan)
        entry.latencies_s.append(result.latency_s)
        entry.mismatches += not same(result.outputs, tally.wholes[photograph.name])
    time.sleep(HEARTBEATS_S)
    entry.uplink_bytes += uplink_bytes(flow.snapshot()) - before


def uplink_bytes(snapshot: Snapshot) -> int:
    """Tensor bytes that ever crossed to and from the cloud, as the nodes counted them."""
    ends = (link.sent_bytes for link in snapshot.links if CLOUD in (link.sender, link.receiver))
    return sum(ends)


def judge(entries: dict[str, Entry]) -> tuple[float, str]:
    """(edgeflow's median over the best rival's, the verdict in a sentence)."""
    medians = {name: quantile_ms(entry.latencies_s, 0.5) for name, entry in entries.items()}
    rivals = [name for name in RIVALS if medians[name] > 0]
    if not rivals or not medians[EDGEFLOW]:
        return 0.0, "No verdict: not every contestant answered."
    best = min(rivals, key=lambda name: medians[name])
    ratio = medians[EDGEFLOW] / medians[best]
    if " | " not in entries[EDGEFLOW].placement:
        text = f"Do not split: {best} wins here, and edgeflow gave it all to one node too"
        text += "." if ratio <= MARGIN else f", {ratio - 1:.0%} slower in this run."
    elif ratio > TIE:
        text = f"Do not split: {best} was {ratio - 1:.0%} faster than the split in this run."
    elif ratio > 1 / TIE:
        text = f"A tie: the split and {best} take the same time here."
    else:
        text = f"The split pays: {1 - ratio:.0%} less time a frame than {best}, the best undivided."
    return round(ratio, 3), text
