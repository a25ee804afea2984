"""Another process under this node's name: is it alive, and which of the two stays?

    a word under our name that we did not say ──▶ "who answers?", on our own name's topic
        a living one answers ──▶ who was here first stays (a node that is still measuring itself
                                 came later; else the lower session goes); the other stops
        nobody does          ──▶ a dead one's leftovers; they are contradicted, and that is all,
                                 but for a starting node whose own number is lower: the others would
                                 take it for the past, so it starts again above that number

Words alone prove no life: they may be retained, late, or a will. The answer to a question that was
asked just now does. What decides between two only ever rises while a process lives, so that never
both stop; each asks again until one is gone. One that drains goes anyway, and pushes nobody out. A
supervisor that restarts the one that stopped changes nothing: it comes later again.

Invariant: at most one question each ASK_S, whatever is said under our name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgeflow.events import Effect, Publish, Stop, Tell
from edgeflow.messages import Caps, Load, Request, Response, State

ASK_S = 1.0
"""Between two questions; a pair of namesakes is told apart in one, if the broker drops none."""
ANSWER_S = 2.5
"""A starting node gives a namesake so long to answer, from its own answer on, which shows that the
broker passes them: heartbeats are 1 s apart."""
LEAVING = ("draining", "offline")
"""A node that goes anyway is left to finish its frames, and its successor to begin."""
FIELDS = ("session", "state", "board", "endpoints")


@dataclass(slots=True)
class Namesake:
    """What was overheard under this node's name."""

    me: str
    session: int
    asked: int = 0
    asked_s: float = -math.inf
    above: int = 0
    """The highest foreign session, heard of while this node was starting."""
    told: str = ""
    """The session of the namesake that our log names already."""
    silent_since_s: float = math.inf
    """When our own answer came back and no other had."""

    def overheard(self, word: State | Caps | Load, is_starting: bool, now_s: float) -> list[Effect]:
        """A word under our name, of another session: ask, if it is time to."""
        if word.session == self.session:
            return []
        if is_starting and word.session > self.session:
            self.above = max(self.above, word.session)
        return self._ask(now_s)

    def answer(self, request: Request, state: str, caps: Caps) -> Response:
        """What this process says of itself to whoever pings its name."""
        places = ", ".join(f"{each.host}:{each.tensors_port}" for each in caps.endpoints)
        told = (str(self.session), state, caps.board[:200], places[:500])
        data = dict(zip(FIELDS, told, strict=True))
        return Response(self.me, request.verb, request.id, "ok", data)

    def answered(self, response: Response, state: str, now_s: float) -> list[Effect]:
        """A process answered to our name: stop, if it is another one that was here first."""
        if not response.id.startswith(self._mark()):
            return []
        session, theirs, board, places = (response.data.get(name, "") for name in FIELDS)
        if not session.isdecimal() or int(session[:20]) == self.session:
            self.silent_since_s = min(self.silent_since_s, now_s)
            return []
        self.silent_since_s, self.above = math.inf, 0
        where = f" at {places}" if places else ""
        named = (
            f"another node of this cluster is called {self.me} ({board or 'unknown board'}{where}"
        )
        text = f"{named}, session {session}): give one of the two another name with --name"
        who = "that one stops"
        if theirs in LEAVING or state in LEAVING:
            who = "one of them is leaving already"
        elif (theirs != "init", int(session[:20])) > (state != "init", self.session):
            return [Tell(f"{text}; this one stops"), Stop(text)]
        effects: list[Effect] = [] if session == self.told else [Tell(f"{text}; {who}")]
        self.told = session
        return effects

    def tick(self, now_s: float) -> list[Effect]:
        """A question that is due again, or the end of this session, to begin a higher one."""
        if not self.above:
            return []
        if now_s - self.silent_since_s <= ANSWER_S:
            return self._ask(now_s)
        text = f"session {self.session} is below {self.above}, which {self.me} had: starting anew"
        return [Tell(f"{text}; is this machine's clock right?"), Stop(above=self.above)]

    def _ask(self, now_s: float) -> list[Effect]:
        if now_s - self.asked_s < ASK_S:
            return []
        self.asked, self.asked_s = self.asked + 1, now_s
        return [Publish(Request(self.me, "ping", f"{self._mark()}{self.asked}"))]

    def _mark(self) -> str:
        """Questions of this very process begin so."""
        return f"namesake-{self.session}-"
