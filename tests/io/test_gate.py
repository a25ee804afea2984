"""Connections beneath ZeroMQ: what the gate cuts is cut."""

from __future__ import annotations

import socket

import pytest

from edgeflow.io.gate import Gate, ends_of
from edgeflow.io.lanes import Lane


@pytest.mark.parametrize("is_dual", [False, True])
def test_a_connection_to_a_door_of_either_family_is_cut(is_dual: bool) -> None:
    if is_dual and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no dual-stack sockets")
    gate = Gate()
    host, family = ("::", socket.AF_INET6) if is_dual else ("127.0.0.1", socket.AF_INET)
    with socket.create_server((host, 0), family=family, dualstack_ipv6=is_dual) as door:
        for _ in range(200):
            peer = socket.create_connection(("127.0.0.1", door.getsockname()[1]), timeout=2.0)
            accepted, _ = door.accept()
            with peer, accepted:
                here = accepted.getsockname(), accepted.getpeername()
                assert ends_of(accepted.fileno()) == here
                gate.cut(gate.opened(accepted.fileno(), Lane.TENSORS, 0.0))
                assert peer.recv(1) == b""


@pytest.mark.parametrize("is_told", [False, True])
def test_a_descriptor_that_became_another_connection_is_left_alone(is_told: bool) -> None:
    """Whether the gate was told of the other one or not yet."""
    gate = Gate()
    with socket.create_server(("127.0.0.1", 0)) as door:
        first = socket.create_connection(door.getsockname())
        accepted, _ = door.accept()
        descriptor = accepted.fileno()
        gone = gate.opened(descriptor, Lane.SIGNALS, 0.0)
        first.close()
        accepted.close()
        with socket.create_connection(door.getsockname()) as second:
            again, _ = door.accept()
            with again:
                assert descriptor in (again.fileno(), second.fileno())
                if is_told:
                    came = gate.opened(descriptor, Lane.SIGNALS, 1.0)
                gate.cut(gone)
                second.sendall(b"x")
                assert again.recv(1) == b"x"
                again.sendall(b"y")
                assert second.recv(1) == b"y"
                if is_told:
                    gate.cut(came)
                    assert second.recv(1) == b""
