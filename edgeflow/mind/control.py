"""What a node does about the broker: control messages, the connection, the user's wishes.

Three topics have one writer each, and that writer reads them too: a node its own state, caps and
held plans. Who finds something older or foreign there says the truth again.

Invariant: no message is the only chance; whatever is dropped here comes again with the next period.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeflow.events import (
    BrokerDown,
    BrokerUp,
    Calibrated,
    Effect,
    Heard,
    Publish,
    Sampled,
    Wanted,
)
from edgeflow.messages import (
    Board,
    Caps,
    Claim,
    Held,
    History,
    LayerTimes,
    Leader,
    Load,
    Metrics,
    Request,
    Response,
    Spec,
    State,
    Status,
)
from edgeflow.mind.duties import Duties
from edgeflow.mind.parts import Parts
from edgeflow.mind.upkeep import Upkeep


class Control:
    """The control plane's side of a NodeCore."""

    def __init__(self, parts: Parts, duties: Duties, upkeep: Upkeep) -> None:
        self.parts, self.duties, self.upkeep = parts, duties, upkeep
        self.namesake = duties.namesake
        self._handlers: dict[type[Any], Callable[[Any, bool, float], list[Effect]]] = {
            LayerTimes: self._on_layer_times,
            Load: self._on_load,
            Leader: self._on_leader,
            State: self._on_peer,
            Caps: self._on_peer,
            Board: self._on_board,
            Held: self._on_held,
            Spec: self._on_spec,
            Status: self._on_status,
            Metrics: self._on_metrics,
            History: self._on_history,
            Request: self._on_request,
            Response: self._on_response,
        }

    def on_sampled(self, event: Sampled, now_s: float) -> list[Effect]:
        """For the next heartbeat."""
        self.parts.sample = event
        self.parts.heat.add(event, now_s)
        if event.unix_s:
            self.parts.lead.wall_s = event.unix_s - now_s
        return []

    def on_calibrated(self, event: Calibrated, now_s: float) -> list[Effect]:
        """This node knows what it can do."""
        return self.duties.become_ready(event.rates, now_s)

    def on_broker_up(self, event: BrokerUp, now_s: float) -> list[Effect]:
        """Say everything again: this broker may be a new one."""
        reconnect = self.parts.connection > 0
        self.parts.connection = event.connection
        self.parts.membership.on_broker(True, now_s, reconnect)
        self.parts.election = self.parts.election.on_broker(True, now_s, reconnect)
        return self.duties.republish_all(now_s)

    def on_broker_down(self, event: BrokerDown, now_s: float) -> list[Effect]:
        """Leases stand still."""
        self.parts.membership.on_broker(False, now_s, reconnect=True)
        self.parts.election = self.parts.election.on_broker(False, now_s, reconnect=True)
        return []

    def on_wanted(self, event: Wanted, now_s: float) -> list[Effect]:
        """The user's wish, from this process."""
        return [*self._on_spec(event.spec, False, now_s), Publish(event.spec)]

    def on_heard(self, event: Heard, now_s: float) -> list[Effect]:
        """A control message, live or retained."""
        handler = self._handlers.get(type(event.message))
        return handler(event.message, event.retained, now_s) if handler is not None else []

    def _on_leader(self, message: Leader, retained: bool, now_s: float) -> list[Effect]:
        self.parts.election, beats = self.parts.election.on_leader(message, retained, now_s)
        return [Publish(beat) for beat in beats]

    def _on_status(self, message: Status, retained: bool, now_s: float) -> list[Effect]:
        self.parts.deployments.view(message.deployment).status = message
        return []

    def _on_metrics(self, message: Metrics, retained: bool, now_s: float) -> list[Effect]:
        view = self.parts.deployments.views.get(message.deployment)
        if view is not None and view.spec is not None and message.source == view.spec.source:
            view.metrics = message
        return []

    def _on_history(self, message: History, retained: bool, now_s: float) -> list[Effect]:
        self.parts.deployments.view(message.deployment).history = message
        return []

    def _on_peer(self, message: State | Caps, retained: bool, now_s: float) -> list[Effect]:
        if message.node == self.parts.me:
            mine = self.parts.own_state() if isinstance(message, State) else self.parts.caps
            if message.session != self.parts.session:
                return self._on_namesake(message, now_s, mine)
            return [] if message == mine else [Publish(mine)]
        if isinstance(message, State):
            self.parts.membership.on_state(message, retained, now_s)
            return []
        self.parts.membership.on_caps(message, retained)
        return self.duties.foreigners.on_caps(message)

    def _on_namesake(
        self, message: State | Caps | Load, now_s: float, *mine: State | Caps
    ) -> list[Effect]:
        """Our name on another session's word: ask who lives, and say again what is true.

        A node that is still starting leaves the word to whoever may have been here first.
        """
        is_starting = self.parts.state == "init"
        asks = self.namesake.overheard(message, is_starting, now_s)
        return [*asks, *(Publish(each) for each in mine if asks and not is_starting)]

    def _on_response(self, message: Response, retained: bool, now_s: float) -> list[Effect]:
        if message.node != self.parts.me or retained:
            return []
        return self.namesake.answered(message, self.parts.state, now_s)

    def _on_layer_times(self, message: LayerTimes, retained: bool, now_s: float) -> list[Effect]:
        if message.node != self.parts.me:
            self.parts.membership.on_layer_times(message)
        return []

    def _on_load(self, message: Load, retained: bool, now_s: float) -> list[Effect]:
        if retained:
            return []
        if message.node == self.parts.me:
            if message.session != self.parts.session:
                return self._on_namesake(message, now_s)
            self.duties.on_echo(message.seq, now_s)
            return []
        self.parts.membership.on_load(message, now_s)
        told = () if message.claim is None else (message.claim,)
        self._gossip(now_s, *told, *(fence.claim for fence in message.fences.values()))
        return []

    def _gossip(self, now_s: float, *claims: Claim) -> None:
        """Claims that somebody mentions, whoever made them: a leader plans above all of them."""
        for claim in claims:
            self.parts.election = self.parts.election.saw(claim, now_s)

    def _on_board(self, board: Board, retained: bool, now_s: float) -> list[Effect]:
        self._gossip(
            now_s,
            board.claim,
            *(plan.id.claim for plan in (board.preparing, board.committed) if plan is not None),
            *(() if board.retired is None else (board.retired.claim,)),
        )
        if board.claim != self.parts.election.mine:
            # Our own board comes back late: we know better what we decided since.
            self.parts.deployments.on_board(board)
        before = set(self.parts.holdings.plans)
        effects = self.parts.holdings.on_board(board)
        for gone in sorted(before - set(self.parts.holdings.plans)):
            effects += self.parts.stage.retire(gone)
        return effects

    def _on_held(self, message: Held, retained: bool, now_s: float) -> list[Effect]:
        self._gossip(now_s, *(each.id.claim for each in message.plans))
        if message.node == self.parts.me:
            self.upkeep.contradict(message, now_s)
        else:
            self.parts.deployments.on_held(message)
        return []

    def _on_spec(self, spec: Spec, retained: bool, now_s: float) -> list[Effect]:
        known = self.parts.deployments.view(spec.name).spec
        if not self.parts.deployments.on_spec(spec) or known is None:
            return []
        if known.source != self.parts.me or (spec.source == known.source and not spec.removed):
            return []
        what = "was removed" if spec.removed else f"has its source at {spec.source} now"
        text = f"deployment {spec.name} {what}"
        return self.parts.inflight.remove(spec.name, text, now_s)

    def _on_request(self, message: Request, retained: bool, now_s: float) -> list[Effect]:
        if message.node != self.parts.me or retained:
            return []
        answer = self.namesake.answer(message, self.parts.state, self.parts.caps)
        if message.verb == "drain":
            return [Publish(answer), *self.duties.drain("asked over MQTT", now_s)]
        if message.verb != "ping":
            text = f"{self.parts.me} knows drain and ping, not {message.verb}"
            answer = Response(self.parts.me, message.verb, message.id, "refused", error=text)
        return [Publish(answer)]
