"""Boards and links as others have measured them: files of figures, each with its source.

    [boards.NAME.matmul_gflops]      value = 70.3, source = "…"
    [links.NAME.up_mbps]             value = 50.0, estimate = true, why = "…"

Invariant: a figure names a public document or benchmark, or says that it is an estimate and why.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from edgeflow.errors import UsageError
from edgeflow.io.settings import read_toml
from edgeflow.messages import Rates
from edgeflow.whatif.scene import MAY_BE_ZERO, UNITS, Cited

RATE_UNITS = {
    "conv_gflops": "GFLOP/s",
    "matmul_gflops": "GFLOP/s",
    "depthwise_gflops": "GFLOP/s",
    "memory_gb_per_s": "GB/s",
    "op_overhead_us": "µs",
}
"""What is known of a board, as in `Rates`."""


class Figure(Struct, frozen=True, forbid_unknown_fields=True):
    """A number and where it comes from."""

    value: float
    source: str = ""
    estimate: bool = False
    why: str = ""
    """Of an estimate: the reasoning, in one line."""


class Board(Struct, frozen=True, forbid_unknown_fields=True):
    """A machine, as `Rates` describes it."""

    about: str
    conv_gflops: Figure
    matmul_gflops: Figure
    depthwise_gflops: Figure
    memory_gb_per_s: Figure
    op_overhead_us: Figure

    def rates(self) -> Rates:
        """In the planner's terms."""
        return rates_of({key: getattr(self, key).value for key in RATE_UNITS})


class Radio(Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of link; up is towards the cloud."""

    about: str
    up_mbps: Figure
    down_mbps: Figure
    delay_ms: Figure


class BoardFile(Struct, frozen=True, forbid_unknown_fields=True):
    """Boards by name."""

    boards: dict[str, Board]


class LinkFile(Struct, frozen=True, forbid_unknown_fields=True):
    """Kinds of links by name."""

    links: dict[str, Radio]


File = TypeVar("File", BoardFile, LinkFile)


def rates_of(figures: dict[str, float]) -> Rates:
    """Rates out of figures by the keys of RATE_UNITS."""
    return Rates(
        conv_flops_per_s=figures["conv_gflops"] * 1e9,
        matmul_flops_per_s=figures["matmul_gflops"] * 1e9,
        memory_bytes_per_s=figures["memory_gb_per_s"] * 1e9,
        op_overhead_s=figures["op_overhead_us"] / 1e6,
        depthwise_flops_per_s=figures.get("depthwise_gflops", 0.0) * 1e9,
    )


def boards(path: Path) -> dict[str, Board]:
    """The boards in a file; UsageError names the figure that has no source, or is none."""
    found = _read(path, BoardFile).boards
    for name, board in found.items():
        for key in RATE_UNITS:
            _check(f"{path}: boards.{name}.{key}", key, getattr(board, key))
    return found


def links(path: Path) -> dict[str, Radio]:
    """The same for kinds of links."""
    found = _read(path, LinkFile).links
    for name, radio in found.items():
        for key in ("up_mbps", "down_mbps", "delay_ms"):
            _check(f"{path}: links.{name}.{key}", key, getattr(radio, key))
    return found


def cite(name: str, profile: Board | Radio, keys: Iterable[str]) -> tuple[Cited, ...]:
    """Where these figures of a profile come from."""
    units = RATE_UNITS | UNITS
    found = []
    for key in keys:
        figure = getattr(profile, key)
        text = figure.why if figure.estimate else figure.source
        found.append(Cited(f"{name} {key}", figure.value, units[key], text, figure.estimate))
    return tuple(found)


def number_problem(key: str, value: float) -> str:
    """What is wrong with a number, with the cure; empty where nothing is."""
    may_be_zero = key in (*MAY_BE_ZERO, "op_overhead_us")
    if math.isfinite(value) and (value > 0 or (value == 0 and may_be_zero)):
        return ""
    if key.endswith("mbps"):
        return f"{value:g} is no rate: write Mbit/s above 0, or leave the link out"
    return f"{value:g} is no number {'of 0 or more' if may_be_zero else 'above 0'}: write one"


def _check(where: str, key: str, figure: Figure) -> None:
    problem = number_problem(key, figure.value)
    if problem:
        raise UsageError(f"{where}: {problem}")
    if bool(figure.source.strip()) == figure.estimate or figure.estimate != bool(figure.why):
        raise UsageError(
            f'{where}: say where {figure.value:g} comes from: source = "document or benchmark", '
            'or estimate = true and why = "the reasoning"'
        )


def _read(path: Path, kind: type[File]) -> File:
    try:
        return msgspec.convert(read_toml(path), kind)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {error}") from None
