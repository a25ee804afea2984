"""Planted bugs of those who carry frames: the source, its attempts, and the stages."""

from __future__ import annotations

from edgeflow.bench.planting.plant import Mutant

FRAMES = {
    "a second result is delivered too": Mutant(
        "frames.outcome:Outcomes.end",
        "self.frames.pop(frame.id, None)",
        "self.frames.get(frame.id, None)",
        ("D1", "Traceback"),
        0,
    ),
    "a result is delivered without one of its tiles": Mutant(
        "frames.inflight:Inflight._on_outputs",
        "set(attempt.got) != attempt.way.split.outputs",
        "{p.name for p in attempt.got} != {p.name for p in attempt.way.split.outputs}",
        ("Traceback", "D3"),
        5,
    ),
    "attempts go on for ever": Mutant(
        "frames.outcome:Outcomes.retry",
        "frame.spent >= ATTEMPTS_MAX",
        "False",
        ("D7",),
        36,
        groups=("links",),
    ),
    "deadlines are looked at late": Mutant(
        "frames.inflight:Inflight.tick",
        "now_s >= frame.deadline_s:",
        "now_s >= frame.deadline_s + 1.0:",
        ("D2",),
        1,
    ),
    "bytes of parked frames are not given back": Mutant(
        "frames.outcome:Outcomes.end", "self.parked_bytes -= frame.size_bytes", "pass", ("D4",), 0
    ),
    "the window has no end": Mutant(
        "frames.inflight:Inflight.pump",
        "is_full = flying >= window.frames\n    for",
        "is_full = False\n    for",
        ("D4",),
        1,
    ),
    "there is always room for one more frame": Mutant(
        "frames.relay:Relay.submit", "len(self.errands) >= ERRANDS_MAX", "False", ("D4",), 184
    ),
    "a frame may kill three workers": Mutant(
        "frames.inflight:Inflight.on_failure",
        "len(frame.deaths) >= DEATHS_MAX",
        "len(frame.deaths) > DEATHS_MAX",
        ("Q1",),
        4,
    ),
    "a fallback is taken although its node is lost too": Mutant(
        "mind.upkeep:Upkeep._open",
        "all(parts.membership.is_here(node, sessions[node], now_s) for node in way.nodes)",
        "True",
        ("V1",),
        1,
    ),
    "the plan is used although a link of it is down": Mutant(
        "mind.upkeep:Upkeep._open", "way.peers <= linked", "True", ("V1",), 1
    ),
    "a frame runs under another variant than it names": Mutant(
        "plans.holding:Holdings.ready", "held.way(variant)", "held.way(0)", ("R1", "F4"), 2
    ),
    "a cancel that comes first is forgotten": Mutant(
        "frames.cancelled:Cancelled.covers",
        "attempt <= self.attempts.get(key, -1)",
        "False",
        ("D5",),
        5,
    ),
    "what is cancelled in the queue runs all the same": Mutant(
        "frames.stage:Stage.on_cancel",
        "return self._drop_all(lambda work: work.is_of(frame, attempt))",
        "return []",
        ("D5",),
        10,
    ),
    "what waited too long is run all the same": Mutant(
        "frames.stage:Stage.next", "if now_s >= work.expires_s:", "if False:", ("D5",), 5
    ),
    "budgets of frames are not looked at": Mutant(
        "frames.stage:Stage.on_frame",
        "min(frame.budget_s, BUDGET_S_MAX)",
        "BUDGET_S_MAX",
        ("D5", "B1"),
        5,
    ),
    "a tile runs before its halo is there": Mutant(
        "frames.stage:Stage.on_frame",
        "len(work.got) < len(segment.inputs)",
        "len({patch.name for patch in work.got}) < len({patch.name for patch in segment.inputs})",
        ("Traceback",),
        43,
    ),
    "tensors are kept after their frame": Mutant(
        "frames.stage:Stage._forget", "self.bundles.drop(bundle)", "[]", ("B1",), 0
    ),
    "an outcome for another node is lost": Mutant(
        "mind.intake:Intake.on_submit",
        "frame.reply = (event.peer, submit.frame)",
        "pass",
        ("T",),
        0,
    ),
    "parked frames outlive their deadline": Mutant(
        "frames.inflight:Inflight.tick",
        "if now_s >= frame.deadline_s:",
        "if frame.flying and now_s >= frame.deadline_s:",
        ("D2", "D1"),
        1,
    ),
    "the input is kept after the outcome": Mutant(
        "frames.outcome:Outcomes.end", "self.bundles.drop(frame.bundle)", "[]", ("B1",), 0
    ),
    "what came of other attempts is kept": Mutant(
        "frames.outcome:Outcomes.forget", "effects += self.bundles.drop(bundle)", "pass", ("B1",), 0
    ),
    "a frame for another source ends twice": Mutant(
        "frames.relay:Relay._end", "self.errands.pop(token)", "self.errands[token]", ("D", "T"), 0
    ),
    "a frame for another source has no deadline": Mutant(
        "frames.relay:Relay.tick",
        "now_s >= errand.deadline_s",
        "now_s >= errand.deadline_s + 2.0",
        ("D2", "D1"),
        4,
    ),
    "two jobs run at once": Mutant(
        "frames.stage:Stage.next",
        "while self.queue and self.running is None:",
        "while self.queue:",
        ("B1", "F", "D", "Traceback"),
        1,
    ),
}
