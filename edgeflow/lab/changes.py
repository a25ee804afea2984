"""What can happen to a running lab: one struct a change, the same by command and on a time line.

    link       rate, delay, jitter, loss of a link, from now on
    trace      a link's rate follows a CSV file of bandwidths
    cut, mend  a link (both ways, or `up`, or `down`), or everything between two groups of hosts
    cpu, load  a node's quota; other processes that compete for it
    kill, stop, cont, restart   the process of a node or of the broker
    kill-worker                 only the process of a node that computes
    clock                       a node's time of day
    save                        a copy of what the broker keeps, to restart it older

`broker` is a host like any other here. It restarts empty, unless it is told to keep what lay on its
disk, or what lay there when it was last saved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from edgeflow.errors import UsageError


class _Change(Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", kw_only=True):
    """Of every change."""

    at_s: Annotated[float, Meta(ge=0)] = 0.0
    """Seconds after the time line was started; by command it is not looked at."""


class SetLink(_Change, frozen=True, tag="link"):
    """What is None stays as it is."""

    link: str
    up_mbps: Annotated[float, Meta(gt=0)] | None = None
    down_mbps: Annotated[float, Meta(gt=0)] | None = None
    delay_ms: Annotated[float, Meta(ge=0, le=10_000)] | None = None
    jitter_ms: Annotated[float, Meta(ge=0, le=10_000)] | None = None
    loss_percent: Annotated[float, Meta(ge=0, le=100)] | None = None


class FollowTrace(_Change, frozen=True, tag="trace"):
    """The link's rate is that of a bandwidth trace (`edgeflow.traces`), one `link` a step."""

    link: str
    file: str
    """In a lab file: relative to it."""
    direction: Literal["both", "up", "down"] = "both"
    repeat: bool = False
    """Begins anew at its end, until the time line is ended from outside."""


class Cut(_Change, frozen=True, tag="cut"):
    """Nothing comes through any more, and nobody is told."""

    link: str
    direction: Literal["both", "up", "down"] = "both"


class Mend(_Change, frozen=True, tag="mend"):
    """The link is what it was before the cut."""

    link: str


class Partition(_Change, frozen=True, tag="partition"):
    """Nothing comes through any more between these hosts and `towards`, or all others."""

    hosts: tuple[str, ...]
    towards: tuple[str, ...] = ()
    one_way: bool = False
    """Only what `hosts` send is lost."""


class Heal(_Change, frozen=True, tag="heal"):
    """Every partition is over."""


class SetCpu(_Change, frozen=True, tag="cpu"):
    """Another quota, in cores."""

    node: str
    cpu: Annotated[float, Meta(ge=0.02)]


class Load(_Change, frozen=True, tag="load"):
    """So many busy processes share the node's quota from now on, each as much as the node itself: 4
    leave it a fifth. 0 ends them."""

    node: str
    processes: Annotated[int, Meta(ge=0, le=16)]


class Kill(_Change, frozen=True, tag="kill"):
    """SIGKILL."""

    host: str


class Stop(_Change, frozen=True, tag="stop"):
    """SIGSTOP: alive, silent, its sockets open."""

    host: str


class Continue(_Change, frozen=True, tag="cont"):
    """SIGCONT."""

    host: str


class Restart(_Change, frozen=True, tag="restart"):
    """SIGKILL if it still runs, then a new process; a node keeps its disk, the broker nothing."""

    host: str
    state: Literal["", "empty", "keep", "older"] = ""
    """Of the broker: without its retained messages, with those of a second before the kill, or with
    those that it had when it was saved."""


class KillWorker(_Change, frozen=True, tag="kill-worker"):
    """SIGKILL to what a node started to compute for it; the node itself lives."""

    node: str


class SetClock(_Change, frozen=True, tag="clock"):
    """A node's time of day is so far off from now on."""

    node: str
    ahead_s: Annotated[float, Meta(ge=-1e8, le=1e8)]


class Save(_Change, frozen=True, tag="save"):
    """The broker's retained messages are copied, for a later `restart broker older`."""


Change = (
    SetLink
    | Cut
    | Mend
    | FollowTrace
    | Partition
    | Heal
    | SetCpu
    | Load
    | Kill
    | Stop
    | Continue
    | Restart
    | KillWorker
    | SetClock
    | Save
)
KINDS: dict[str, type[Any]] = {str(kind.__struct_config__.tag): kind for kind in get_args(Change)}
"""By the word that names them."""


def parse(words: Sequence[str]) -> Change:
    """`["link", "uplink", "up_mbps=2"]` as a change; bare words are the first fields. UsageError.

    Several hosts are joined by commas.
    """
    kind = KINDS.get(words[0]) if words else None
    if kind is None:
        what = f"there is no change {words[0]!r}" if words else "say what is to happen"
        raise UsageError(f"{what}; there is {', '.join(KINDS)}")
    fields = [name for name in kind.__struct_fields__ if name != "at_s"]
    named: dict[str, Any] = {"do": words[0]}
    for word, field in zip_longest(words[1:], fields):
        if word is None:
            break
        key, equals, value = word.partition("=")
        if not equals:
            key, value = field or word, word
        named[key] = tuple(value.split(",")) if key in ("hosts", "towards") else value
    try:
        change: Change = msgspec.convert(named, kind, strict=False)
    except msgspec.ValidationError as error:
        takes = ", ".join(fields) or "nothing"
        raise UsageError(f"{words[0]}: {error}; it takes {takes}") from None
    return change


def subjects_of(change: Change) -> Iterator[tuple[str, str]]:
    """(`link`, `node` or `host`, name) of everything that a change speaks of."""
    match change:
        case SetLink() | FollowTrace() | Cut() | Mend():
            yield "link", change.link
        case SetCpu() | Load() | KillWorker() | SetClock():
            yield "node", change.node
        case Kill() | Stop() | Continue() | Restart():
            yield "host", change.host
        case Partition():
            yield from (("host", name) for name in (*change.hosts, *change.towards))
        case Heal() | Save():
            pass


def sentence(change: Change) -> str:
    """One line for a log, which `parse` reads: `link link=uplink up_mbps=2`."""
    words = [str(change.__struct_config__.tag)]
    for field in change.__struct_fields__:
        value = getattr(change, field)
        if field == "at_s" or value in (None, (), ""):
            continue
        said = ",".join(value) if isinstance(value, tuple) else value
        words.append(f"{field}={said:g}" if isinstance(said, float) else f"{field}={said}")
    return " ".join(words)
