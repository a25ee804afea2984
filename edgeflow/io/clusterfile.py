"""A cluster on paper: nodes with their boards, links between nodes or whole tiers.

    [nodes.cam-1]   tier, board or rates, ratio, memory_gb
    [[links]]       between = ["device", "cloud"], profile or mbps and delay_ms, name
    [profiles]      boards, links: files of figures (edgeflow.io.profiles), from this file's folder

A link between tiers stands for all pairs of their nodes; one between two nodes goes before it.

Every error names the file, the place in it, and the cure.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from edgeflow.costmodel.cost import NodeCost
from edgeflow.errors import UsageError
from edgeflow.io import profiles
from edgeflow.io.profiles import RATE_UNITS, Board, Radio, number_problem, rates_of
from edgeflow.io.settings import TIERS
from edgeflow.messages import DEVICE, Name
from edgeflow.whatif.scene import GIGA, Cited, Pair, Scene, Way, Wire

BASIS = "on paper: profiles, not measurements"
MEMORY_GB_MAX = 1e6
RATE_KEYS = ("mbps", "up_mbps", "down_mbps", "delay_ms")

End = str | tuple[str, ...]


class RatesSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """A machine's rates, where no profile has them."""

    conv_gflops: float
    matmul_gflops: float
    memory_gb_per_s: float
    op_overhead_us: float
    depthwise_gflops: float | None = None
    """None: as fast as other convolutions."""


class NodeSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """One node."""

    tier: str
    board: str = ""
    """A name in the file of boards."""
    rates: RatesSpec | None = None
    """Instead of a board."""
    compute: Literal["auto", "none"] = "auto"
    ratio: float = 1.0
    """Measured over predicted time: 2 is twice as slow."""
    memory_gb: float = 0.0
    """What weights may take; 0: not limited."""


class LinkSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """A link between nodes or tiers; `up` is from the first end to the second."""

    between: tuple[End, End]
    name: str = ""
    """For --set and --sweep; default: `first:second`. Several links may share one."""
    profile: str = ""
    """A name in the file of links."""
    mbps: float | None = None
    """Both directions."""
    up_mbps: float | None = None
    down_mbps: float | None = None
    delay_ms: float | None = None

    @property
    def title(self) -> str:
        """Its name."""
        return self.name or ":".join("+".join(names_of(end)) for end in self.between)


class Profiles(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the profiles are, from the cluster file's folder."""

    boards: str = ""
    links: str = ""


class ClusterFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    name: str
    nodes: dict[Name, NodeSpec]
    links: tuple[LinkSpec, ...] = ()
    about: str = ""
    source: str = ""
    """Where frames enter; default: the only device."""
    profiles: Profiles = Profiles()


def convert(table: dict[str, Any], path: Path, source: str = "") -> Scene:
    """The scene in a cluster file's table; UsageError names what is wrong in it. Frames enter at
    `source`, or where the file says."""
    try:
        found = msgspec.convert(table, ClusterFile)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {error}") from None
    boards = profiles.boards(path.parent / found.profiles.boards) if found.profiles.boards else {}
    radios = profiles.links(path.parent / found.profiles.links) if found.profiles.links else {}
    for problem in _problems(found, boards, radios):
        raise UsageError(f"{path}: {problem}")
    wires, ways = _wires(found, radios)
    return Scene(
        name=found.name,
        about=found.about,
        basis=BASIS,
        nodes={name: _node(name, spec, boards) for name, spec in found.nodes.items()},
        wires=wires,
        ways=ways,
        source=source or found.source or only_device(_devices(found), str(path)),
        cited=tuple(_cited(found, boards, radios)),
    )


def _devices(found: ClusterFile) -> list[str]:
    return [name for name, spec in found.nodes.items() if spec.tier == DEVICE.name]


def only_device(devices: list[str], where: str) -> str:
    """The device; UsageError where there are none or several."""
    if len(devices) != 1:
        listed = ", ".join(devices) or "no device"
        raise UsageError(f'{where}: say where frames enter: source = "…" or --source ({listed})')
    return devices[0]


def names_of(end: End) -> tuple[str, ...]:
    """The names that one end of a link gives."""
    return (end,) if isinstance(end, str) else end


def _node(name: str, spec: NodeSpec, boards: dict[str, Board]) -> NodeCost:
    rates = None
    if spec.rates is not None:
        given = msgspec.structs.asdict(spec.rates)
        rates = rates_of({key: value for key, value in given.items() if value is not None})
    elif spec.compute != "none":
        rates = boards[spec.board].rates()
    return NodeCost(name, TIERS[spec.tier], rates, spec.ratio, int(spec.memory_gb * GIGA))


def _members(found: ClusterFile, end: End) -> tuple[str, ...]:
    """The nodes that one end of a link stands for."""
    members: dict[str, None] = {}
    for name in names_of(end):
        tier = [node for node, spec in found.nodes.items() if spec.tier == name]
        members |= dict.fromkeys([name] if name in found.nodes else tier)
    return tuple(members)


def _wires(
    found: ClusterFile, radios: dict[str, Radio]
) -> tuple[tuple[Wire, ...], dict[Pair, Way]]:
    """The general first, so that a link between two nodes goes before one between tiers."""
    wires: list[Wire] = []
    ways: dict[Pair, Way] = {}
    for at, spec in enumerate(sorted(found.links, key=lambda spec: _rank(found, spec))):
        ends = (_members(found, spec.between[0]), _members(found, spec.between[1]))
        wires.append(Wire(spec.title, ends, *_rates(spec, radios)))
        for first, second in product(*ends):
            if first != second:
                ways[first, second] = ((at, True),)
                ways[second, first] = ((at, False),)
    return tuple(wires), ways


def _rank(found: ClusterFile, spec: LinkSpec) -> int:
    """How many of its ends are single nodes."""
    return sum(all(name in found.nodes for name in names_of(end)) for end in spec.between)


def _rates(spec: LinkSpec, radios: dict[str, Radio]) -> tuple[float, float, float]:
    """Up, down, delay: what stands at the link goes before its profile."""
    known = {"up_mbps": spec.mbps, "down_mbps": spec.mbps, "delay_ms": None}
    radio = radios.get(spec.profile)
    found: list[float] = []
    for key, both in known.items():
        own = getattr(spec, key)
        given = [own, both, getattr(radio, key).value if radio else 0.0]
        found.append(next(each for each in given if each is not None))
    return found[0], found[1], found[2]


def _cited(
    found: ClusterFile, boards: dict[str, Board], radios: dict[str, Radio]
) -> Iterator[Cited]:
    """Figures of profiles that the file uses, each once."""
    for name in dict.fromkeys(spec.board for spec in found.nodes.values() if spec.board):
        yield from profiles.cite(name, boards[name], RATE_UNITS)
    used: dict[str, set[str]] = {}
    for spec in found.links:
        both = {"up_mbps", "down_mbps"} if spec.mbps is not None else set()
        own = {key for key in RATE_KEYS if getattr(spec, key) is not None} | both
        used.setdefault(spec.profile, set()).update({"up_mbps", "down_mbps", "delay_ms"} - own)
    for name, keys in used.items():
        if name:
            yield from profiles.cite(name, radios[name], sorted(keys))


# --- what can be wrong ---------------------------------------------------------------------------


def _problems(
    found: ClusterFile, boards: dict[str, Board], radios: dict[str, Radio]
) -> Iterator[str]:
    """What is wrong, in sentences."""
    if not found.nodes:
        yield "there is no node; add [nodes.edge-1] with tier and board"
    for name, node in found.nodes.items():
        for problem in _node_problems(node, boards):
            yield f"nodes.{name}: {problem}"
        if name in TIERS:
            yield f"nodes.{name}: a tier has this name; give the node another"
    if found.source and found.source not in found.nodes:
        yield f"source: there is no node {found.source}; there is {', '.join(found.nodes)}"
    for at, link in enumerate(found.links):
        for problem in (*_end_problems(found, at), *_link_problems(link, radios)):
            yield f"links[{at}]: {problem}"


def _node_problems(node: NodeSpec, boards: dict[str, Board]) -> Iterator[str]:
    if node.tier not in TIERS:
        yield f"tier: {node.tier!r} is none of {', '.join(TIERS)}"
    if bool(node.board) + bool(node.rates) + (node.compute == "none") != 1:
        yield 'give either board = "NAME", or a table rates, or compute = "none"'
    if node.board and node.board not in boards:
        yield f"board: there is no {node.board} {_there(boards, 'boards')}"
    given = {"ratio": node.ratio, "memory_gb": node.memory_gb}
    rates = msgspec.structs.asdict(node.rates) if node.rates else {}
    given |= {f"rates.{key}": value for key, value in rates.items() if value is not None}
    yield from _number_problems(given)
    if node.memory_gb > MEMORY_GB_MAX:
        yield f"memory_gb: {node.memory_gb:g} is more than {MEMORY_GB_MAX:g}; 0 is no limit"


def _end_problems(found: ClusterFile, at: int) -> Iterator[str]:
    link = found.links[at]
    for name in (name for end in link.between for name in names_of(end)):
        if name in TIERS and not _members(found, name):
            yield f"between: there is no node of the tier {name}; add one, or drop the link"
        elif name not in TIERS and name not in found.nodes:
            there = ", ".join((*found.nodes, *TIERS))
            yield f"between: there is no node or tier {name!r}; there is {there}"
    if len({node for end in link.between for node in _members(found, end)}) < 2:
        yield "between: a link needs two different nodes"
    for before, other in enumerate(found.links[:at]):
        if _ends(other) == _ends(link):
            yield f"links[{before}] is between the same; keep one"


def _ends(link: LinkSpec) -> frozenset[frozenset[str]]:
    """Its ends, whichever is first."""
    return frozenset(frozenset(names_of(end)) for end in link.between)


def _link_problems(link: LinkSpec, radios: dict[str, Radio]) -> Iterator[str]:
    if link.profile and link.profile not in radios:
        yield f"profile: there is no {link.profile} {_there(radios, 'links')}"
    is_rated = link.mbps is not None or None not in (link.up_mbps, link.down_mbps)
    if not (link.profile or is_rated):
        yield 'give mbps, or up_mbps and down_mbps, or profile = "NAME"'
    given = {key: getattr(link, key) for key in RATE_KEYS}
    yield from _number_problems({key: each for key, each in given.items() if each is not None})


def _number_problems(given: dict[str, float]) -> Iterator[str]:
    for key, value in given.items():
        if problem := number_problem(key.rpartition(".")[2], value):
            yield f"{key}: {problem}"


def _there(known: dict[str, Any], kind: str) -> str:
    """What is known, or how to know something."""
    if known:
        return f"among the profiles; there is {', '.join(known)}"
    return f'without profiles; add [profiles] with {kind} = "FILE" (configs/profiles/{kind}.toml)'
