"""Headers of tensors: made from a model's contracts, and held against them.

Invariant: a header made from a contract fits it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence, Set
from functools import lru_cache

import numpy as np

from edgeflow.layout.split import Patch
from edgeflow.messages import Rect, TensorHead
from edgeflow.model.graph import OPEN_MAX, Contract, Graph
from edgeflow.tiles.rect import columns, rows

NAMED_MAX = 12
"""Tensors that an error names."""


def heads(graph: Graph, names: Iterable[str]) -> tuple[TensorHead, ...]:
    """Headers of these tensors by contract: of what ops make, where no dimension is open."""
    return tuple(_head(graph.tensors[name], None) for name in names)


def heads_of(graph: Graph, patches: Iterable[Patch]) -> tuple[TensorHead, ...]:
    """Headers of tensors and of rectangles of maps."""
    return tuple(_head(graph.tensors[patch.name], patch.rect) for patch in patches)


def misfit(tensors: Sequence[TensorHead], graph: Graph, wanted: Set[Patch]) -> str:
    """Why these are not some of the wanted patches, in words; empty where they are."""
    for head in tensors:
        if head.rect is None:
            continue
        if Patch(head.name, head.rect) not in wanted:
            there = sorted(str(patch.rect) for patch in wanted if patch.name == head.name)
            return f"{head.name}[{head.rect}] is not wanted, but {' or '.join(there) or 'none'}"
        if head != _head(graph.tensors[head.name], head.rect):
            return f"{head.name}[{head.rect}] is {head.dtype} {_text(head)}"
    others = [head for head in tensors if head.rect is None]
    if not others:
        return ""
    whole = (graph.tensors[patch.name] for patch in wanted if patch.rect is None)
    return mismatch(others, whole, partly=True)


def size_bytes(tensors: Iterable[TensorHead]) -> int:
    """Bytes of the buffers behind these headers."""
    return sum(math.prod(head.shape) * _itemsize(head.dtype) for head in tensors)


def mismatch(
    tensors: Iterable[TensorHead], contracts: Iterable[Contract], *, partly: bool = False
) -> str:
    """Why these tensors do not fit the contracts, in words; empty where they do.

    `partly`: some of the contracts may be unanswered, as another message brings the rest.
    """
    wanted = {contract.name: contract for contract in contracts}
    given = {head.name: head for head in tensors}
    if unknown := sorted(set(given) - set(wanted)):
        return f"no tensor is called {_list(unknown)}; there is {_list(sorted(wanted))}"
    if not partly and (absent := sorted(set(wanted) - set(given))):
        return f"missing: {_list(absent)}"
    for name, head in given.items():
        contract = wanted[name]
        if head.rect is not None:
            return f"{name} is [{head.rect}] of a map, wanted is all of it"
        if not contract.admits(head.dtype, head.shape):
            return f"{name} is {head.dtype} {_text(head)}, wanted is {_wanted(contract)}"
    return ""


def _list(names: Sequence[str]) -> str:
    """Some of them: a sender may name 256 tensors of 256 letters, and this goes into a sentence."""
    shown = [name[:60] for name in names[:NAMED_MAX]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _text(head: TensorHead) -> str:
    return "x".join(map(str, head.shape))


def _wanted(contract: Contract) -> str:
    bounds = "".join(
        f", {dim} of 1 to {OPEN_MAX}" for dim in contract.shape if isinstance(dim, str)
    )
    return f"{contract.dtype} {'x'.join(map(str, contract.shape))}{bounds}"


@lru_cache(maxsize=4096)
def _head(contract: Contract, rect: Rect | None) -> TensorHead:
    assert not contract.is_open, contract
    shape = tuple(map(int, contract.shape))
    if rect is not None:
        shape = (*shape[:2], rows(rect), columns(rect))
    return TensorHead(contract.name, contract.dtype, shape, rect)


@lru_cache(maxsize=64)
def _itemsize(dtype: str) -> int:
    return np.dtype(dtype).itemsize
