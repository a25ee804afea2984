"""Settings of one node: a TOML file, then the command line on top. Each has a unit and a price."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from edgeflow.messages import EDGE, Endpoint, Name, Tier

TENSORS_PORT = 7450
"""Default port of the tensors lane."""
SIGNALS_PORT = 7451
"""Default port of the signals lane."""


class Emulate(Struct, frozen=True, forbid_unknown_fields=True):
    """Makes this node slower than it is, without root. Labelled *emulated* wherever it shows."""

    compute_factor: Annotated[float, Meta(ge=1)] = 1.0
    """Every segment takes this many times as long."""
    mbps: Annotated[float, Meta(ge=0)] = 0.0
    """Rate of everything this node sends, to any peer, in Mbit/s; 0: as fast as it goes."""
    peers_mbps: dict[Name, Annotated[float, Meta(gt=0)]] = {}
    """Rate towards one peer, or by a tier's name towards each node of it; the slower wins."""
    delay_ms: Annotated[float, Meta(ge=0)] = 0.0
    """Added to every message sent."""


class NodeConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a node process needs to know."""

    name: Name
    tier: Tier = EDGE
    brokers: tuple[str, ...] = ("mqtt://127.0.0.1:1883",)
    """In order of preference; one logical broker."""
    broker_return_s: Annotated[float, Meta(gt=0)] = 30.0
    """A node that is not with the first of them looks this often whether one before is back. Lower
    returns sooner, and knocks at a dead address more often."""
    cluster: Name = "home"
    compute: str = "auto"
    """auto cpu cuda none"""
    engine: str = "auto"
    """auto: each segment on the engine that is quickest for it here; torch or onnx: that one first,
    and the other where it refuses."""
    threads: Annotated[int, Meta(ge=0)] = 0
    """Threads of the engine; 0: one a core. Results are bit-equal only at the same number."""
    worker: str = "process"
    """process: engines run in one that may die without the node, for some 40 MB and 0.4 ms a frame;
    thread: in the node itself, which dies with them."""
    bind: str = ""
    """Address to accept links on. Empty: every interface with a cluster key, loopback without."""
    tensors_port: Annotated[int, Meta(ge=0, le=65535)] = TENSORS_PORT
    """0: any free port."""
    signals_port: Annotated[int, Meta(ge=0, le=65535)] = SIGNALS_PORT
    advertise: tuple[Endpoint, ...] = ()
    """Addresses to announce instead of those found."""
    reachable: bool = True
    """False behind NAT: this node dials, nobody dials it."""
    key_file: str = ""
    """The cluster key (`edgeflow key new`). Empty: no encryption, loopback only."""
    insecure: bool = False
    """Accept and open unencrypted links off this machine."""
    state_dir: str = ""
    """Weights and the session counter live here. Empty: a temporary folder, gone at the end."""
    store_bytes_max: Annotated[int, Meta(ge=0)] = 4 << 30
    """Weights kept on disk; the longest unused go first. Lower fetches more often."""
    event_log: str = ""
    """File for all that this node's core hears, for `edgeflow replay`; empty: none. Costs some 0.3
    MB a minute in a fleet of three and 0.3 kB a frame; the last run's file is kept as FILE.1."""
    event_log_bytes_max: Annotated[int, Meta(ge=0)] = 256 << 20
    """The log ends at this size: without its beginning it could not be replayed."""
    can_lead: bool | None = None
    """None: whoever computes may lead."""
    emulate: Emulate = Emulate()
