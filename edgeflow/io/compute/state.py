"""What a node keeps in mind of its worker process: segments, jobs, deaths.

    waiting ─▶ building ─▶ built         a death puts all that is built or building back to waiting
                  └─ workers die over it ─▶ broken: its jobs fail, and nobody builds it again

Invariant: a build is broken only by a death at which no job ran that might have been the cause.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edgeflow.events import SegmentKey
from edgeflow.executors.piece import reads_of
from edgeflow.io.compute.slabs import Form, lay
from edgeflow.io.compute.wire import Build, Laid
from edgeflow.layout.parcel import Parcel
from edgeflow.messages import Rect
from edgeflow.model.graph import Graph
from edgeflow.tiles.rect import columns, rows

BUILD_DEATHS, REBUILD_DEATHS = 2, 5
"""Workers that die over a segment: one that was never built is given up then, one that was before
only later, as want of memory passes. Less gives up over accidents, more costs the other segments
that many starts."""
HOPELESS_DEATHS = 3
"""Jobs of a segment fail then instead of waiting: another node may have them."""
JOB_S_MIN, JOB_USUAL = 30.0, 20.0
"""A job may take the longer of the two: seconds, and times what it usually takes. Less kills a
worker that only waits for a busy machine, more waits longer for one that is frozen."""
DEATHS_FREE, DEATHS_S = 5, 60.0
"""So many deaths within so long are each followed by a new worker at once."""
PAUSE_S_MIN, PAUSE_S_MAX = 0.5, 10.0
"""The pause after one more, doubled with each."""
SMOOTH = 0.2
"""Weight of the newest run in what is usual."""

Keep = Callable[[Parcel], int]


@dataclass(slots=True)
class Job:
    """A run that is asked for."""

    number: int
    key: SegmentKey
    parcels: Sequence[Parcel]
    keep: Keep
    ran_s: float = 0.0
    """As far as this node was awake to see."""


@dataclass(slots=True)
class Wanted:
    """A segment that shall be built for as long as there is a worker."""

    order: Build
    reads: Mapping[str, Rect | None]
    outputs: tuple[Laid, ...]
    """Where they lie in their slab."""
    output_bytes: int
    form: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """Dtype and shape of each input of the last job: they seldom change."""
    inputs: tuple[Laid, ...] = ()
    input_bytes: int = 0
    """As they lay then."""
    step: str = "waiting"
    """waiting, building, built, broken"""
    engine: str = ""
    """What it was built on first, and is ever after; empty: nobody was told that it is built."""
    usual_s: float = 0.0
    deaths: int = 0
    """Of workers that were building it, since it was built last."""
    why: str = ""
    """Its jobs fail of it at once; empty: they wait until it is built."""

    @staticmethod
    def of(order: Build, graph: Graph) -> Wanted:
        """TileError where the layers cannot be tiled so."""
        outputs, size = lay(_forms(order, graph))
        return Wanted(order, reads_of(graph, order.layers, order.tile), outputs, size)

    @property
    def limit_s(self) -> float:
        """A run that takes longer is frozen, or without end."""
        return max(JOB_S_MIN, JOB_USUAL * self.usual_s)

    @property
    def is_hopeless(self) -> bool:
        """Has it killed as many workers as one may that is wanted?"""
        return self.deaths >= (REBUILD_DEATHS if self.engine else BUILD_DEATHS)

    def ran(self, seconds: float) -> None:
        """Learn what is usual."""
        self.usual_s += SMOOTH * (seconds - self.usual_s)


def _forms(order: Build, graph: Graph) -> list[Form]:
    """Of what leaves the layers, or of the one tile."""
    forms = []
    for name in graph.boundary(order.layers)[1]:
        contract = graph.tensors[name]
        shape = [int(dim) for dim in contract.shape]
        if order.tile is not None:
            shape[2:] = rows(order.tile), columns(order.tile)
        forms.append(Form(name, contract.dtype, tuple(shape), order.tile))
    return forms


def culprits(wanted: Mapping[SegmentKey, Wanted], *, was_up: bool) -> list[Wanted]:
    """Builds that a worker may have died of: it builds in order, so the first; where it never came
    up, all that were never built."""
    building = [each for each in wanted.values() if each.step == "building"]
    return building[:1] if was_up else [each for each in building if not each.engine]


@dataclass(slots=True)
class Deaths:
    """When the last workers died, and how long the next one waits for it."""

    times_s: deque[float] = field(default_factory=lambda: deque(maxlen=100))

    def add(self, now_s: float) -> float:
        """One more; the pause before the next worker, in seconds."""
        self.times_s.append(now_s)
        extra = self.recent(now_s) - DEATHS_FREE
        if extra <= 0:
            return 0.0
        return min(PAUSE_S_MAX, PAUSE_S_MIN * 2.0 ** min(extra - 1, 10))

    def recent(self, now_s: float) -> int:
        """Within the last DEATHS_S."""
        return sum(now_s - each <= DEATHS_S for each in self.times_s)
