"""Whether a broker answers: one CONNECT by hand (MQTT 3.1.1, section 3.1), one DISCONNECT."""

from __future__ import annotations

import socket


def answers(
    host: str, port: int, user: str = "", password: str = "", timeout_s: float = 1.0
) -> bool:
    """Whether a broker at this address lets this user in, now."""
    texts = [b"edgeflow-check"]
    flags = 0x02  # a clean session
    if user:
        texts += [user.encode(), password.encode()]
        flags |= 0xC0
    body = b"\0\4MQTT\4" + bytes([flags]) + (60).to_bytes(2, "big")
    body += b"".join(len(text).to_bytes(2, "big") + text for text in texts)
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as broker:
            broker.sendall(b"\x10" + _length(len(body)) + body)
            answer = broker.recv(4)
            broker.sendall(b"\xe0\0")
    except OSError:
        return False
    return len(answer) == 4 and answer[0] == 0x20 and answer[3] == 0


def _length(count: int) -> bytes:
    """MQTT's remaining length (section 2.2.3), below 16 kB."""
    return bytes([count]) if count < 128 else bytes([count % 128 | 128, count // 128])
