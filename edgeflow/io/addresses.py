"""Where a node listens, and which of its addresses it announces.

Announced, in order: the local address of the broker connection (whoever reaches the broker probably
reaches us there), then those of the other interfaces. Never those of containers, link-local ones,
or loopback while other machines could be meant.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

import psutil

from edgeflow.config import NodeConfig
from edgeflow.errors import NetworkError
from edgeflow.io.lanes import is_loopback

LOOPBACK, EVERYWHERE = "127.0.0.1", "::"
_CONTAINERS = ("docker", "br-", "veth", "virbr", "cni", "flannel", "podman", "lxc", "lxd", "cali")


def bind_host(config: NodeConfig, has_key: bool) -> str:
    """The address to listen on; NetworkError where the settings would open an unguarded port."""
    if not config.bind:
        return EVERYWHERE if has_key or config.insecure else LOOPBACK
    if not (has_key or config.insecure or is_loopback(config.bind)):
        raise NetworkError(
            f"bind = {config.bind!r} would accept anybody: make a cluster key with"
            " `edgeflow key new FILE` and name it with --key-file on every node,"
            " or accept the risk with --insecure"
        )
    return config.bind


def announced_hosts(bound: str, broker_url: str) -> tuple[str, ...]:
    """Addresses at which others may reach a node that listens on `bound`, best first."""
    if is_loopback(bound):
        return (LOOPBACK if bound == "localhost" else bound,)
    if bound not in (EVERYWHERE, "0.0.0.0"):
        return (bound,)
    first = _route_to(urlsplit(broker_url).hostname or "")
    hosts = [first] if first else []
    for name, addresses in psutil.net_if_addrs().items():
        if not name.startswith(_CONTAINERS):
            hosts += [found.address for found in addresses if _is_announceable(found)]
    return tuple(dict.fromkeys(hosts)) or (LOOPBACK,)


def _route_to(host: str) -> str:
    """Our address on the way to a host. Nothing is sent: a UDP socket only chooses its route."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def _is_announceable(found: object) -> bool:
    if getattr(found, "family", None) not in (socket.AF_INET, socket.AF_INET6):
        return False
    try:
        address = ipaddress.ip_address(getattr(found, "address", ""))
    except ValueError:
        return False  # a zone behind it, so it is link-local
    return not (address.is_loopback or address.is_link_local or address.is_unspecified)
