"""What a policy is asked, and what it answers.

    fleet as known, running plan, what its frames took ──▶ Question ──▶ policy ──▶ Choice, or None

Invariant: a question is data; whoever asks it twice gets the same answer from a fresh policy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeflow.costmodel.cost import Cluster
from edgeflow.messages import Lately, Plan, Spec
from edgeflow.model.graph import Graph
from edgeflow.planning import Proposal
from edgeflow.planning.standing import Standing


@dataclass(frozen=True, slots=True)
class Question:
    """One deployment, as its leader knows it now."""

    spec: Spec
    graph: Graph
    cluster: Cluster
    """Nodes and links at the prices of now."""
    shunned: tuple[str, ...]
    """Nodes that are to compute nothing of it for a while."""
    now_s: float
    plan: Plan | None = None
    """The running one; None before the first."""
    standing: Standing = field(default_factory=lambda: Standing(0.0, 0.0))
    """What the running plan costs now; infinite where it cannot be run."""
    told_s: float = math.inf
    """What the running plan's last frames took, where enough of them came since its price last
    moved; infinite where they did not."""
    since_s: float = 0.0
    """When the running plan was committed."""
    measured: Mapping[str, Lately] = field(default_factory=dict)
    """By plan id in words: what its frames took, as far as told."""
    tried: Mapping[str, Lately] = field(default_factory=dict)
    """By placement line of the running plan's variants: what frames on trial took, likewise."""
    waiting: int = 0
    """Frames that are parked or fly beside another one, as last told: none has the fleet alone."""
    is_draining: bool = False
    """Frames of the plan before are still under way."""
    is_news: bool = False
    """Asked because something notable was heard."""
    prepared: tuple[str, ...] = ()
    """Placement lines that are built already, or were: their nodes have the weights."""
    keepers: frozenset[str] = frozenset()
    """Nodes that have every weight of the model."""
    switch_s: float = 0.0
    """What earlier switches of this deployment took; 0: there was none."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Another plan, and why it is worth the switch."""

    proposal: Proposal
    why: str
    kind: str = "better"
    """As in `messages.PlanChange`."""
