"""The plans a node holds: prepared, ready, used, retired. One `Holdings` for all deployments.

    board names a plan above the fence
      └▶ manifest ─▶ blobs ─▶ build ─▶ links ─▶ ready ──────────────▶ retired
             └────────┴─────────┴────────┴─▶ failed (and why) ──────────^
                         a board no longer names it, and commits a newer one or says it is retired

READY obliges: until a plan is retired its frames are computed, whether or not COMMIT was heard.
COMMIT speaks to the source alone: it makes a ready plan the active one. A newer PREPARE ends only
what the same leader prepared before and did not commit: of another leader's plans it may not know
that they are in use.

Invariants: plan ids applied rise strictly (F1); one id has one hash (F2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from edgeflow.codec import plan_hash
from edgeflow.events import (
    BlobsChecked,
    BuildSegment,
    CheckBlobs,
    DropSegment,
    Effect,
    SegmentKey,
    Tell,
)
from edgeflow.layout.placement import PlacementError, parse_placement
from edgeflow.layout.split import split
from edgeflow.messages import Board, Held, Holding, Plan, PlanId, SegmentTime
from edgeflow.model.graph import Graph
from edgeflow.plans.heldplan import HeldPlan, Route, Way
from edgeflow.plans.leftovers import Leftovers
from edgeflow.plans.library import Library, blobs_of

READY = frozenset({"ready", "active", "in-flight"})
"""Statuses of a plan whose frames are computed."""
TOLD = frozenset({"building", "ready", "failed"})
"""Steps that others hear of by name; what is before them is `preparing`."""


@dataclass(slots=True)
class Holdings:
    """Every plan this node holds."""

    me: str
    session: int
    library: Library
    plans: dict[str, HeldPlan] = field(default_factory=dict)
    """By hash."""
    fences: dict[str, PlanId] = field(default_factory=dict)
    """Highest plan id applied, by deployment."""
    active: dict[str, str] = field(default_factory=dict)
    """At the source: hash of the plan that new frames use, by deployment."""
    committed: dict[str, PlanId] = field(default_factory=dict)
    leftovers: Leftovers = field(default_factory=Leftovers)
    """Built for plans that are over."""
    conflicts: int = 0

    def on_board(self, board: Board) -> list[Effect]:
        """The leader's truth about one deployment, fresh or retained: fenced either way."""
        effects: list[Effect] = []
        named = [plan for plan in (*board.draining, board.committed, board.preparing) if plan]
        for plan in sorted(named, key=lambda plan: plan.id):
            effects += self._apply(plan)
        committed = board.committed
        if committed is not None:
            known = self.committed.get(board.deployment, committed.id)
            self.committed[board.deployment] = max(known, committed.id)
        for held in [*self.of(board.deployment)]:
            if self._is_over(held, board, named):
                effects += self._retire(held)
        self.commit(board.deployment)
        return effects

    def of(self, deployment: str) -> Iterator[HeldPlan]:
        """Plans held for a deployment."""
        return (held for held in self.plans.values() if held.plan.deployment == deployment)

    def ready(self, plan_hash: str, plan_id: PlanId, variant: int = 0) -> Way | None:
        """The variant of a plan that a frame names, if its frames are computed here."""
        held = self.plans.get(plan_hash)
        if held is None or held.step != "ready" or held.plan.id != plan_id:
            return None
        return held.way(variant)

    def way_on(self, route: Route) -> Way | None:
        """A variant of a plan, while that is held, ready or not."""
        held = self.plans.get(route.hash)
        return held.way(route.variant) if held is not None else None

    def active_plan(self, deployment: str) -> HeldPlan | None:
        """At the source: the plan for new frames."""
        return self.plans.get(self.active.get(deployment, ""))

    def commit(self, deployment: str) -> None:
        """At the source: a committed plan that is ready here becomes the active one."""
        committed = self.committed.get(deployment)
        for held in self.of(deployment):
            if held.plan.id != committed or held.step != "ready" or held.plan.source != self.me:
                continue
            now = self.active_plan(deployment)
            if now is None or held.plan.id > now.plan.id:
                self.active[deployment] = held.plan.hash

    def segment_times(self) -> tuple[SegmentTime, ...]:
        """On what each segment that is built here runs, and how long it takes."""
        return tuple(
            SegmentTime(
                held.plan.deployment,
                str(held.plan.id),
                at,
                *way.measured.get(at, (0.0, 0)),
                way.engines.get(at, ""),
            )
            for held in self.plans.values()
            for way in held.ways[:1]
            for at in sorted(way.built)
        )

    def advance(
        self, holders: tuple[str, ...], deployment: str, linked: frozenset[str], now_s: float
    ) -> list[Effect]:
        """Take every preparation of a deployment as far as it goes now."""
        effects: list[Effect] = []
        for held in [*self.of(deployment)]:
            if held.step == "manifest":
                effects += self._derive(held, holders, now_s)
            if held.step == "fetching" and not self._still_missing(held):
                effects += self._check_blobs(held)
            if held.step == "links" and held.peers <= linked:
                held.step = "ready"
                self.commit(deployment)
        return effects

    def on_checked(self, event: BlobsChecked, holders: tuple[str, ...]) -> list[Effect]:
        """The store said which weights of a plan's segment it lacks."""
        held = self.plans.get(event.purpose)
        if held is None or held.step != "checking":
            return []
        held.missing = dict(event.missing)
        if held.missing:
            held.step = "fetching"
            held.want_bytes = max(held.want_bytes, sum(held.missing.values()))
            for sha256, size_bytes in event.missing:
                self.library.fetch.want(sha256, size_bytes, holders)
            return []
        held.step = "building"
        return [
            BuildSegment(key, held.plan.model, each.layers, each.tile)
            for key, each in held.segments
        ]

    def on_built(self, key: SegmentKey, engine: str) -> None:
        """An executor is warm; the last one takes the plan on."""
        held = self.plans.get(key.hash)
        way = held.way(key.variant) if held is not None else None
        if held is not None and way is not None and held.step == "building":
            way.engines[key.segment] = engine
            way.built.add(key.segment)
            self._take_over(way, key.segment)
            if all(len(each.built) == len(each.segments) for each in held.ways):
                held.step = "links"

    def _take_over(self, way: Way, at: int) -> None:
        """What an equal segment took under the plan before: this one runs as it did."""
        mine = way.segment(at)
        if mine is None:
            return
        others = (other for held in self.of(way.plan.deployment) for other in held.ways)
        for other in others:
            for each in other.segments:
                is_equal = (each.layers, each.tile) == (mine.layers, mine.tile)
                if is_equal and each.at in other.measured:
                    way.measured.setdefault(at, other.measured[each.at])

    def fail(self, plan_hash: str, why: str) -> None:
        """This node cannot hold that plan."""
        held = self.plans.get(plan_hash)
        if held is not None and held.step != "ready":
            held.step, held.why = "failed", why

    def message(self, deployment: str, in_flight: frozenset[str]) -> Held:
        """What this node says of a deployment; `in_flight`: hashes of plans with open frames."""
        holdings = []
        for held in sorted(self.of(deployment), key=lambda held: held.plan.id):
            missing = self._still_missing(held)
            have_bytes = held.want_bytes - sum(missing.values())
            if self.library.fetch.current in missing:
                have_bytes += self.library.fetch.offset_bytes
            status = held.step if held.step in TOLD else "preparing"
            if status == "ready" and self.active.get(deployment) == held.plan.hash:
                status = "active"
            elif status == "ready" and held.plan.hash in in_flight:
                status = "in-flight"
            why = held.why or ("waits for its links" if held.step == "links" else "")
            holdings.append(
                Holding(held.plan.id, held.plan.hash, status, have_bytes, held.want_bytes, why)
            )
        keeps = any(held.plan.model in self.library.keeping for held in self.of(deployment))
        return Held(deployment, self.me, self.session, tuple(holdings), keeps)

    def _apply(self, plan: Plan) -> list[Effect]:
        known = next((held for held in self.of(plan.deployment) if held.plan.id == plan.id), None)
        if known is not None:
            return [] if known.plan.hash == plan.hash else self._conflict(known, plan)
        fence = self.fences.get(plan.deployment)
        if fence is not None and not plan.id > fence:
            return []
        if plan.sessions.get(self.me) != self.session:
            return []
        if plan_hash(plan) != plan.hash:
            return [Tell(f"plan {plan.id} of {plan.deployment} does not match its hash: refused")]
        self.fences[plan.deployment] = plan.id
        self.plans[plan.hash] = HeldPlan(plan)
        return []

    def _is_over(self, held: HeldPlan, board: Board, named: list[Plan]) -> bool:
        if any(plan.id == held.plan.id for plan in named):
            return False
        if board.retired is not None and held.plan.id <= board.retired:
            return True
        if board.committed is not None and held.plan.id < board.committed.id:
            return True
        newer = board.preparing
        is_own = held.plan.id.claim == board.claim
        return newer is not None and is_own and held.plan.id < newer.id

    def _conflict(self, known: HeldPlan, plan: Plan) -> list[Effect]:
        """A second plan under an id that is taken: refuse both, unless it is only garbled."""
        name = f"plan {plan.id} of {plan.deployment}"
        if plan_hash(plan) != plan.hash:
            return [Tell(f"{name} does not match its hash: refused")]
        self.conflicts += 1
        return [*self._retire(known), Tell(f"{name} came with two hashes: both refused")]

    def _retire(self, held: HeldPlan) -> list[Effect]:
        del self.plans[held.plan.hash]
        if self.active.get(held.plan.deployment) == held.plan.hash:
            del self.active[held.plan.deployment]
        for sha256 in held.missing:
            if not any(sha256 in other.missing for other in self.plans.values()):
                self.library.fetch.forget(sha256)
        built = {way.key(at) for way in held.ways for at in way.built}
        self.leftovers.add(sorted(built))
        return [DropSegment(key) for key, _ in held.segments if key not in built]

    def _derive(self, held: HeldPlan, holders: tuple[str, ...], now_s: float) -> list[Effect]:
        plan = held.plan
        graph = self.library.graphs.get(plan.model)
        if graph is None:
            if why := self.library.problem(plan.model, now_s):
                self.fail(plan.hash, why)
                return []
            return self.library.want(plan.model, holders, now_s)
        try:
            splits = [
                split(graph, parse_placement(graph, line), plan.source) for line in plan.variants
            ]
        except PlacementError as error:
            self.fail(plan.hash, str(error))
            return []
        held.ways = tuple(Way(plan, variant, each, self.me) for variant, each in enumerate(splits))
        if not any(way.segments for way in held.ways):
            held.step = "links"
            return []
        return self._check_blobs(held, graph)

    def _check_blobs(self, held: HeldPlan, graph: Graph | None = None) -> list[Effect]:
        graph = graph or self.library.graphs[held.plan.model]
        layers = dict.fromkeys(layer for _, segment in held.segments for layer in segment.layers)
        names = graph.weights_of(layers)
        held.step = "checking"
        return [CheckBlobs(held.plan.model, held.plan.hash, blobs_of(graph, names))]

    def _still_missing(self, held: HeldPlan) -> dict[str, int]:
        wanted = self.library.fetch.wanted
        return {sha256: size for sha256, size in held.missing.items() if sha256 in wanted}
