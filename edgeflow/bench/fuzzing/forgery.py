"""What goes over the links of a fuzzed fleet: right messages of the running plan, made wrong.

    plan off the board ─▶ Frame Result Submit … as its nodes would send ─▶ mutants of them

Some go out as they are: they are well-formed, only their sender has no part in the plan.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.msgpack import Ext

from edgeflow.bench.fuzzing import mutate
from edgeflow.bench.fuzzing.subject import NAMES, SIDE
from edgeflow.io.lanes import Lane
from edgeflow.messages import (
    PROTOCOL,
    BlobChunk,
    BlobMissing,
    BlobRequest,
    Cancel,
    Failure,
    Frame,
    Hello,
    Outcome,
    Plan,
    ProbeData,
    Receipt,
    Rect,
    Refusal,
    Result,
    Submit,
    TensorHead,
    Welcome,
    Withdraw,
)

VERSION = bytes([PROTOCOL])
TENSOR_BYTES = 4 * SIDE * SIDE * 4
ODD = (*[each for each in mutate.ODD if each != {"": {}}], Ext(5, b"x"), Ext(-1, b"\0" * 12),
       float("nan"), float("inf"), b"\xff\xfe", b"")  # fmt: skip
NOBODY = "a" * 64
Message = tuple[Lane, list[bytes]]


@dataclass(slots=True)
class Forger:
    """Makes messages for one plan; `frame` is about where its source's numbers are."""

    chance: random.Random
    plan: Plan
    me: Hello
    frame: int = 1

    def next(self) -> Message:
        """One message, and the lane that it is for."""
        chance = self.chance
        lane, message, sizes = self._right()
        tree = msgspec.json.decode(msgspec.json.encode(message))
        header = VERSION + msgspec.msgpack.encode(message)
        kind = chance.random()
        if kind < 0.5:
            header = self._mutated(tree)
        elif kind < 0.7:
            header = mutate.bytes_of(chance, header, self._mutated(tree))
        elif kind < 0.76:
            header = self._special(tree)
        buffers = [bytes(size) for size in sizes]
        if 0.76 <= kind < 0.9:
            buffers = self._buffers(buffers)
        if lane is Lane.SIGNALS:
            parts = [header, *buffers] if kind >= 0.76 and chance.random() < 0.3 else [header]
        else:
            parts = [self._serial(), header, *buffers]
        if chance.random() < 0.01:
            lane = Lane(1 - lane)
        return lane, parts

    # --- right ones -------------------------------------------------------------------------------

    def _right(self) -> tuple[Lane, Any, list[int]]:
        chance = self.chance
        number, attempt = max(0, self.frame + chance.randint(-30, 60)), chance.choice((1, 1, 2))
        if chance.random() < 0.45:
            return Lane.SIGNALS, self._signal(number, attempt), []
        plan, head = self.plan, self._head
        segment = chance.randrange(2)
        session = plan.sessions[plan.source]
        name = (plan.deployment, plan.id, 0, plan.hash)
        frame = Frame(
            *name, plan.source, session, number, attempt, 5.0, (head(("x", NAMES[0])[segment]),),
            segment,
        )  # fmt: skip
        answer = (head(NAMES[-1]),)
        message = chance.choice(
            (
                frame,
                frame,
                Result(*name, number, attempt, 0.01, answer),
                Result(*name, number, attempt, 0.01, answer),
                # As it stands the source must refuse it: its input is not the model's.
                Submit(plan.deployment, number, 5.0, (head("y"),)),
                Outcome(plan.deployment, number, "", "", answer),
                BlobChunk(plan.model, 0, TENSOR_BYTES),
                ProbeData(TENSOR_BYTES),
            )
        )
        return Lane.TENSORS, message, [TENSOR_BYTES]

    def _head(self, name: str) -> TensorHead:
        rect = Rect(0, SIDE, 0, SIDE) if self.chance.random() < 0.1 else None
        return TensorHead(name, "float32", (1, 4, SIDE, SIDE), rect)

    def _signal(self, number: int, attempt: int) -> Any:
        plan = self.plan
        one, session = (plan.deployment, number, attempt), plan.sessions[plan.source]
        return self.chance.choice(
            (
                self.me,
                Hello(plan.source, session),
                Welcome(plan.source, session),
                Receipt(number, 1000),
                Refusal(*one, self.chance.choice(("not-held", "full", "spent")), plan.id, "no"),
                Failure(*one, self.chance.choice(("malformed", "failed", "peer-lost")), "no"),
                Cancel(plan.deployment, plan.source, session, number, attempt),
                Withdraw(plan.deployment, number),
                BlobRequest(plan.model, self.chance.choice((0, 1 << 20, 1 << 62)), 1 << 16),
                BlobRequest(NOBODY, 0, 1000),
                BlobMissing(plan.model),
            )
        )

    # --- wrong ones -------------------------------------------------------------------------------

    def _mutated(self, tree: Any) -> bytes:
        made = mutate.tree_of(self.chance, tree, tree, ODD)
        try:
            return VERSION + msgspec.msgpack.encode(made)
        except (msgspec.MsgspecError, OverflowError, TypeError):
            return VERSION + msgspec.msgpack.encode(str(made)[:60_000])

    def _special(self, tree: dict[str, Any]) -> bytes:
        """What no mutation of a tree gives."""
        raw = msgspec.msgpack.encode(tree)
        match self.chance.randrange(6):
            case 0:  # a key twice
                twice = msgspec.msgpack.encode("type") + msgspec.msgpack.encode("frame")
                return VERSION + bytes([min(raw[0] + 1, 0x8F)]) + raw[1:] + twice
            case 1:  # nested beyond any stack
                return VERSION + b"\x91" * self.chance.choice((500, 60_000))
            case 2:  # a map and a string that promise 4 GiB
                return VERSION + self.chance.choice((b"\xdf", b"\xdb", b"\xc6")) + b"\xff" * 4
            case 3:
                return VERSION + msgspec.msgpack.encode({**tree, "frame": "n" * 60_000})
            case 4:  # tensors without elements, of any extent
                shape = self.chance.choice(((0, 1 << 62), (0, 1 << 40, 1 << 40), (1 << 63, 0)))
                heads = [{"name": "x", "dtype": "float32", "shape": shape}]
                return VERSION + msgspec.msgpack.encode({**tree, "tensors": heads})
        return bytes([self.chance.randrange(256)]) + raw

    def _buffers(self, buffers: list[bytes]) -> list[bytes]:
        chance = self.chance
        match chance.randrange(7):
            case 0:
                return []
            case 1:
                return buffers * chance.choice((2, 1000))
            case 2:
                return [b""] * chance.choice((1, 2, 300))
            case 3:
                return [*buffers, b"\0"]
            case 4:
                return [each + b"\0" * chance.choice((1, 3, 100_000)) for each in buffers]
            case 5:
                return [each[: chance.randrange(len(each) + 1)] for each in buffers]
        return [mutate.bytes_of(chance, each) for each in buffers]

    def _serial(self) -> bytes:
        if self.chance.random() < 0.03:
            return self.chance.randbytes(self.chance.choice((0, 1, 7, 9, 70_000)))
        return self.chance.choice((0, 0, 1, self.chance.getrandbits(64))).to_bytes(8, "big")
