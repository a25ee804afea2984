"""Which ops can be made in tiles, and what a tile of each takes from its inputs.

    op ──▶ why it cannot      or      a rule: rows and columns, each on its own (`axes`)
           "sums over rows"           rectangle of the output ──▶ rectangles of the inputs
                                                              └─▶ attributes of the op that makes it

Invariant: an op with these attributes on these rectangles makes exactly these elements of the whole
map, in the same arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from edgeflow.errors import EdgeflowError
from edgeflow.messages import Rect
from edgeflow.model.graph import Attribute, Graph, Op
from edgeflow.tiles.axes import Axis, Piece
from edgeflow.tiles.kinds import BORDERS, Attrs, axes_of


class TileError(EdgeflowError):
    """A tile that cannot be made: of an op that is not local, or outside of its map."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class Rule:
    """How an op is made in tiles."""

    op: Op
    rows: Axis
    columns: Axis
    broadcast: tuple[tuple[bool, bool], ...]
    """By input: has it one row, one column that serves all? Empty where none has."""

    def needs(self, rect: Rect) -> tuple[Rect, ...]:
        """For each input the rectangle of it that `rect` of the output takes."""
        top, bottom = self.rows.need(rect.top, rect.bottom)
        left, right = self.columns.need(rect.left, rect.right)
        need = Rect(top, bottom, left, right)
        if not self.broadcast:
            return (need,) * len(self.op.inputs)
        return tuple(
            Rect(*((0, 1) if row else (top, bottom)), *((0, 1) if column else (left, right)))
            for row, column in self.broadcast
        )

    def look(self, rect: Rect) -> tuple[Mapping[str, Attribute], int, int]:
        """Attributes of the op that makes `rect`; rows and columns it makes in front of it."""
        rows = self.rows.piece(rect.top, rect.bottom)
        columns = self.columns.piece(rect.left, rect.right)
        dress = _DRESS.get(self.op.kind)
        attrs = self.op.attrs if dress is None else {**self.op.attrs, **dress(self, rows, columns)}
        return attrs, rows.skip, columns.skip


@dataclass(frozen=True, slots=True)
class Rules:
    """Of a whole graph: each op has a rule, or a reason why it has none."""

    rules: dict[str, Rule]
    reasons: dict[str, str]
    """In words that go on from "it": `sums over rows and columns`."""


def rules_of(graph: Graph) -> Rules:
    """The rules of all of its ops, by their names; made once a graph, and kept with it."""
    known = graph.__dict__.get("_tile_rules")
    if isinstance(known, Rules):
        return known
    made = Rules({}, {})
    for op in graph.ops:
        found = _rule(op, graph)
        if isinstance(found, str):
            made.reasons[op.name] = found
        else:
            made.rules[op.name] = found
    graph.__dict__["_tile_rules"] = made
    return made


def why_not(op: Op, graph: Graph) -> str:
    """Why tiles of its output cannot be made from tiles of its inputs; empty where they can."""
    return rules_of(graph).reasons.get(op.name, "")


def needs(op: Op, graph: Graph, rect: Rect) -> tuple[Rect, ...]:
    """For each of `op.inputs` the rectangle of it that `rect` of the output takes.

    TileError where the op cannot be made in tiles. That `rect` lies in the map is not checked.
    """
    rule = rules_of(graph).rules.get(op.name)
    if rule is None:
        raise refusal(op, why_not(op, graph))
    return rule.needs(rect)


def refusal(op: Op, why: str) -> TileError:
    """What to raise where this op is asked for a tile."""
    return TileError(f"{op.name} ({op.kind}) cannot be made in tiles: it {why}; tile fewer layers")


def _rule(op: Op, graph: Graph) -> Rule | str:
    axes = axes_of(op, graph)
    if isinstance(axes, str):
        return axes
    flags = [
        tuple(graph.tensors[name].shape[at] == 1 != op.output.shape[at] for at in BORDERS)
        for name in op.inputs
    ]
    mixed = len(flags) > 1 and any(map(any, flags))
    return Rule(op, *axes, tuple((row, column) for row, column in flags) if mixed else ())


# --- how the op of a tile looks, by kind --------------------------------------------------------


def _padded(rule: Rule, rows: Piece, columns: Piece) -> Attrs:
    return {"padding": (rows.before, columns.before, rows.after, columns.after)}


def _both_padded(rule: Rule, rows: Piece, columns: Piece) -> Attrs:
    return {"padding": (rows.before, columns.before)}


def _uncropped(rule: Rule, rows: Piece, columns: Piece) -> Attrs:
    return {"padding": (0, 0), "output_padding": (rows.after, columns.after)}


def _sized(rule: Rule, rows: Piece, columns: Piece) -> Attrs:
    factors = (getattr(axis, "factor", 1) for axis in (rule.rows, rule.columns))
    sizes = (rows.hi - rows.lo, columns.hi - columns.lo)
    return {"size": tuple(size * by for size, by in zip(sizes, factors, strict=True))}


def _framed(rule: Rule, rows: Piece, columns: Piece) -> Attrs:
    before, after = (rule.op.attrs[side] for side in ("before", "after"))
    assert isinstance(before, tuple)
    assert isinstance(after, tuple)
    return {
        "before": (*before[:2], rows.before, columns.before),
        "after": (*after[:2], rows.after, columns.after),
    }


def _stepped(rule: Rule, rows: Piece, columns: Piece) -> Attrs:
    axis = rule.op.attrs["axis"]
    if axis not in BORDERS:
        return {}
    piece = rows if axis == 2 else columns
    return {"start": 0, "stop": piece.hi - piece.lo}


_DRESS: dict[str, Callable[[Rule, Piece, Piece], Attrs]] = {
    "conv2d": _padded,
    "conv_transpose2d": _uncropped,
    **dict.fromkeys(["max_pool2d", "avg_pool2d"], _both_padded),
    **dict.fromkeys(["adaptive_avg_pool2d", "adaptive_max_pool2d"], _sized),
    **dict.fromkeys(["upsample_nearest", "upsample_bilinear"], _sized),
    "pad": _framed,
    "slice": _stepped,
}
"""What changes in the attributes; kinds that are not here keep theirs."""
