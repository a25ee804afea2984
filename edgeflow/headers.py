"""Headers of tensors: made from a model's contracts, and held against them.

Invariant: a header made from a contract fits it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from edgeflow.graph import OPEN_MAX, Contract, Graph
from edgeflow.messages import TensorHead


def heads(graph: Graph, names: Iterable[str]) -> tuple[TensorHead, ...]:
    """Headers of these tensors by contract: of what ops make, where no dimension is open."""
    return tuple(_head(graph.tensors[name]) for name in names)


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
        return f"no tensor is called {', '.join(unknown)}; there is {', '.join(sorted(wanted))}"
    if not partly and (absent := sorted(set(wanted) - set(given))):
        return f"missing: {', '.join(absent)}"
    for name, head in given.items():
        contract = wanted[name]
        if not contract.admits(head.dtype, head.shape):
            shape = "x".join(map(str, head.shape))
            return f"{name} is {head.dtype} {shape}, wanted is {_wanted(contract)}"
    return ""


def _wanted(contract: Contract) -> str:
    bounds = "".join(
        f", {dim} of 1 to {OPEN_MAX}" for dim in contract.shape if isinstance(dim, str)
    )
    return f"{contract.dtype} {'x'.join(map(str, contract.shape))}{bounds}"


@lru_cache(maxsize=4096)
def _head(contract: Contract) -> TensorHead:
    assert not contract.is_open, contract
    return TensorHead(contract.name, contract.dtype, tuple(map(int, contract.shape)))


@lru_cache(maxsize=64)
def _itemsize(dtype: str) -> int:
    return np.dtype(dtype).itemsize
