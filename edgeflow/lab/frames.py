"""What a frame's bytes say."""

from __future__ import annotations

IPV4, IPV6 = b"\x08\x00", b"\x86\xdd"
TCP = 6
SYN, ACK = 0x02, 0x10
ETHERNET_BYTES, IPV6_BYTES = 14, 40
FLAGS_AT = 13
"""Of the TCP header's bytes (RFC 9293, 3.1)."""


def opens_tcp(frame: bytes, start: int = 0) -> bool:
    """Whether it asks for a TCP connection: SYN without ACK over untagged IPv4 or IPv6.

    The Ethernet header begins at byte `start`. IPv6 extension headers before TCP are not followed,
    nor are VLAN tags; a frame too short to tell opens nothing.
    """
    kind = frame[start + 12 : start + 14]
    packet = start + ETHERNET_BYTES
    if kind == IPV4:
        if len(frame) < packet + 20 or frame[packet + 9] != TCP:
            return False
        if frame[packet + 6] & 0x1F or frame[packet + 7]:
            return False  # a later fragment: no TCP header
        segment = packet + 4 * (frame[packet] & 0x0F)
    elif kind == IPV6:
        if len(frame) < packet + IPV6_BYTES or frame[packet + 6] != TCP:
            return False
        segment = packet + IPV6_BYTES
    else:
        return False
    flags = frame[segment + FLAGS_AT] if len(frame) > segment + FLAGS_AT else 0
    return flags & (SYN | ACK) == SYN
