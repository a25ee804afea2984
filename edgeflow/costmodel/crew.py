"""What a tile map costs: its workers run at the same time, and the slowest one counts.

    makers ══ exchange ══▶ worker, its tiles in turn ─┐
    makers ══ exchange ══▶ worker, its tiles in turn ─┴▶ the last one done: one *stage*

What leaves a tile map for layers that are whole, or for the source as results, is an exchange of
its own. Stages and exchanges follow each other: nothing of one begins before all of the other is
done, so that what a layout costs is their sum.

Invariant: what a node has already it does not send; the tile of a layer takes the share of the
layer's seconds that its share of the predicted work is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgeflow.costmodel.exchange import arrivals, finishes, same
from edgeflow.layout.split import SOURCE, Patch, Segment, Split, patch_bytes
from edgeflow.messages import Rect

if TYPE_CHECKING:
    from edgeflow.costmodel.cost import CostModel

Link = tuple[str, str]


@dataclass(frozen=True, slots=True)
class TileTerms:
    """The price of one tile, and what it is made of."""

    layers: tuple[str, ...]
    """Of its tile map."""
    node: str
    rect: Rect
    """Of the map's output; `edgeflow.costmodel.tileviews` has what it reads, and what twice."""
    arrives_s: float
    """From the start of the stage until all of that is there."""
    compute_s: float
    done_s: float
    """From the start of the stage; later than both together where the node's other tiles come
    first."""
    bytes_in: int
    """From other nodes."""


@dataclass(frozen=True, slots=True)
class _Message:
    sender: int
    """Segments by their place; `SOURCE` is the source."""
    reader: int
    patches: tuple[Patch, ...]


@dataclass(slots=True)
class Crews:
    """Prices all tile maps of a split, and adds what is busy to what is known of plain parts."""

    costs: CostModel
    parts: Split
    compute_s: dict[str, float]
    transfer_s: dict[Link, float]
    sent: dict[Link, int]
    messages: list[_Message] = field(init=False)

    def __post_init__(self) -> None:
        self.messages = list(_messages(self.parts))

    def price(self) -> tuple[float, float, tuple[TileTerms, ...]]:
        """Seconds of all stages and exchanges, those of results among them, and every tile."""
        total_s, way_back_s = 0.0, 0.0
        tiles: list[TileTerms] = []
        for members in self._maps():
            found = self._stage(members)
            tiles += found
            outward = [
                each
                for each in self.messages
                if each.sender in members and not self._is_tile(each.reader)
            ]
            back_s = max(self._exchange(self._results(members)).values(), default=0.0)
            way_back_s += back_s
            total_s += max(each.done_s for each in found) + back_s
            total_s += max(self._exchange(outward).values(), default=0.0)
        return total_s, way_back_s, tuple(tiles)

    def _maps(self) -> list[list[int]]:
        """Segments of each tile map."""
        found: dict[tuple[str, ...], list[int]] = {}
        for segment in self.parts.segments:
            if segment.tile is not None:
                found.setdefault(segment.layers, []).append(segment.at)
        return list(found.values())

    def _is_tile(self, at: int) -> bool:
        return at != SOURCE and self.parts.segments[at].tile is not None

    def _node(self, at: int) -> str:
        return self.parts.source if at == SOURCE else self.parts.segments[at].node

    def _results(self, members: Sequence[int]) -> list[_Message]:
        segments = (self.parts.segments[at] for at in members)
        return [_Message(each.at, SOURCE, each.results) for each in segments if each.results]

    def _stage(self, members: list[int]) -> list[TileTerms]:
        """The tiles of one map, each with its times."""
        incoming = [each for each in self.messages if each.reader in members]
        arrive_s = self._exchange(incoming)
        segments = [self.parts.segments[at] for at in members]
        compute_s = [self._compute_s(segment) for segment in segments]
        waits_s = [arrive_s.get(at, 0.0) for at in members]
        readers = same(_numbers([segment.node for segment in segments]))
        done_s = finishes(np.array(waits_s), np.array(compute_s), readers)
        found = []
        for at, segment in enumerate(segments):
            node = segment.node
            self.compute_s[node] = self.compute_s.get(node, 0.0) + compute_s[at]
            found.append(self._tile(segment, incoming, waits_s[at], compute_s[at], done_s[at]))
        return found

    def _compute_s(self, segment: Segment) -> float:
        assert segment.tile is not None
        return self.costs.tile_work(segment.node, segment.layers, segment.tile)[0]

    def _tile(
        self,
        segment: Segment,
        incoming: Sequence[_Message],
        arrives_s: float,
        compute_s: float,
        done_s: float,
    ) -> TileTerms:
        assert segment.tile is not None
        away = (
            patch_bytes(self.costs.graph, patch)
            for each in incoming
            if each.reader == segment.at and self._node(each.sender) != segment.node
            for patch in each.patches
        )
        return TileTerms(
            layers=segment.layers,
            node=segment.node,
            rect=segment.tile,
            arrives_s=arrives_s,
            compute_s=compute_s,
            done_s=float(done_s),
            bytes_in=sum(away),
        )

    def _exchange(self, messages: list[_Message]) -> dict[int, float]:
        """By reader, when its last message is there; what was sent is written down."""
        senders = sorted({each.sender for each in messages})
        readers = sorted({each.reader for each in messages})
        if not readers:
            return {}
        size = (len(senders), len(readers))
        busy_s, delay_s = np.zeros(size), np.zeros(size)
        there = np.zeros(size, dtype=bool)
        for each in messages:
            link = self._node(each.sender), self._node(each.reader)
            if link[0] == link[1]:
                continue
            place = senders.index(each.sender), readers.index(each.reader)
            nbytes = sum(patch_bytes(self.costs.graph, patch) for patch in each.patches)
            delay_s[place], byte_s = self.costs.price(*link)
            there[place] = True
            busy_s[place] = nbytes * byte_s if nbytes else 0.0
            if np.isinf(delay_s[place]):
                busy_s[place] = np.inf
            self.sent[link] = self.sent.get(link, 0) + nbytes
            if each.reader != SOURCE:
                seconds = float(delay_s[place] + busy_s[place])
                self.transfer_s[link] = self.transfer_s.get(link, 0.0) + seconds
        found = arrivals(
            busy_s,
            delay_s,
            there,
            same(_numbers([self._node(at) for at in senders])),
            same(_numbers([self._node(at) for at in readers])),
        )
        return dict(zip(readers, map(float, found), strict=True))


def _messages(parts: Split) -> Iterator[_Message]:
    """All that is sent to segments."""
    for at, patches in parts.entry.items():
        yield _Message(SOURCE, at, patches)
    for segment in parts.segments:
        for at, patches in segment.sends.items():
            yield _Message(segment.at, at, patches)


def _numbers(nodes: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """A number for each different name."""
    known = {name: at for at, name in enumerate(dict.fromkeys(nodes))}
    return np.array([known[name] for name in nodes], dtype=np.intp)
