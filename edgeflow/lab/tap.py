"""TAP devices in network namespaces; each lives as long as its file descriptor."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path

from edgeflow.errors import NetworkError
from edgeflow.lab.wires import End

TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
SIOCSIFMTU, SIOCSIFHWADDR = 0x8922, 0x8924
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_TUN_EXCL = 0x0002, 0x1000, 0x4000, 0x8000
CHECKSUMS, SUPER_FRAMES = 0x01, 0x02 | 0x04 | 0x08
CLONE_NEWNET = 0x40000000
ARPHRD_ETHER = 1

HEADER_BYTES = 10
"""struct virtio_net_hdr in front of every frame."""

TUN = Path("/dev/net/tun")
NAMESPACES = Path("/run/netns")
OWN = Path("/proc/self/ns/net")

CURES = {
    errno.EPERM: "only root may make devices in namespaces; run it with sudo",
    errno.EACCES: "only root may make devices in namespaces; run it with sudo",
    errno.ENOENT: "there is no /dev/net/tun; load it with `modprobe tun`",
    errno.ENODEV: "there is no /dev/net/tun; load it with `modprobe tun`",
    errno.EBUSY: "there is one of that name; end the relay that holds it",
    errno.EEXIST: "there is one of that name; remove it with `ip -n NETNS link del DEVICE`",
    errno.EINVAL: "there is one of that name, or the kernel takes no such name, MTU or MAC",
}


def open_tap(end: End, mtu: int) -> int:
    """A descriptor, non-blocking, of a new device that is down; NetworkError with the cure."""
    with cures(end), inside(end.netns):
        tap = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            name = end.device.encode()
            flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL
            ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name, flags))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
                ioctl(asking, SIOCSIFMTU, struct.pack("16si20x", name, mtu))
                if end.mac:
                    mac = bytes.fromhex(end.mac.replace(":", ""))
                    request = struct.pack("16sH6s16x", name, ARPHRD_ETHER, mac)
                    ioctl(asking, SIOCSIFHWADDR, request)
        except OSError:
            os.close(tap)
            raise
        return tap


def offload(tap: int, *, super_frames: bool) -> None:
    """What the kernel may hand over undone: checksums, and TCP segments not cut to the MTU yet."""
    ioctl(tap, TUNSETOFFLOAD, CHECKSUMS | (SUPER_FRAMES if super_frames else 0))


@contextmanager
def inside(netns: str) -> Iterator[None]:
    """This thread is in the namespace; what it opens there stays there."""
    try:
        there = os.open(NAMESPACES / netns, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NetworkError(
            f"there is no namespace {netns}; make it with `ip netns add {netns}`"
        ) from None
    back = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(there)
        try:
            yield
        finally:
            enter(back)
    finally:
        os.close(there)
        os.close(back)


def enter(namespace: int) -> None:
    """setns(2), which Python has from 3.12 on; OSError where the kernel refuses."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


@contextmanager
def cures(end: End) -> Iterator[None]:
    """What the kernel refuses, as a NetworkError."""
    try:
        yield
    except OSError as error:
        cure = CURES.get(error.errno or 0, "look at `dmesg`")
        raise NetworkError(
            f"device {end.device} in namespace {end.netns}: {error.strerror}; {cure}"
        ) from None
