"""What a lab delivers beside what it was asked for: rates, delays, CPU shares.

    scripts/bench lab [--seconds 4] [--json]          root, like every lab

A lab of four nodes that compute nothing is built. TCP streams cross each link both ways (counted at
the receiver after the slow start; as rate on the wire, headers included), UDP packets go to and fro
(half their way there and back), and a busy process spins in each node's quota.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from edgeflow.lab import hosts, labfile, lifecycle, network, quota
from edgeflow.lab.labfile import BROKER, LabFile

TABLE: dict[str, Any] = {
    "name": "bench",
    "switches": ["home", "internet"],
    "nodes": {
        name: {"tier": "edge", "cpu": cpu, "settings": {"compute": "none"}}
        for name, cpu in {"slow": 0.1, "middle": 0.25, "quick": 0.5, "far": 0.25}.items()
    },
    "links": [
        {"between": ["slow", "home"], "up_mbps": 5, "down_mbps": 10, "delay_ms": 5},
        {"between": ["middle", "home"], "up_mbps": 20, "down_mbps": 40, "delay_ms": 20},
        {"between": ["quick", "home"], "up_mbps": 100, "down_mbps": 200},
        {"between": ["far", "internet"]},
        {"between": ["home", "internet"], "up_mbps": 30, "down_mbps": 15, "delay_ms": 50},
    ],
}
SETTLE_S = 2.0
"""TCP finds the rate within this."""
ECHOES = 60
ECHO_S = 0.02
PORT = 9
WIRE = (1500 + 14) / (1500 - 52)
"""Bytes on the wire for a byte of a full TCP segment: Ethernet, IP, TCP with time stamps."""
OFF_MAX = 0.10
OFF_MS_MAX = 2.0
STARTED_S = 0.6
"""A measuring process listens within this."""


def main() -> int:
    """Build, measure, take down; 1 where something is further off than promised."""
    parser = argparse.ArgumentParser(prog="scripts/bench lab", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="a TCP stream, a busy process")
    parser.add_argument("--json", action="store_true", help="one object instead of a table")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        PARTS[options.part[0]](*options.part[1:])
        return 0
    lab = labfile.convert(TABLE, "scripts/bench lab")
    lifecycle.up(lab, "scripts/bench lab", (), note)
    try:
        rows = measure(lab, options.seconds)
    finally:
        lifecycle.down(lambda _: None)
    sys.stdout.write(json.dumps(report(rows)) + "\n" if options.json else table(rows))
    return int(any(row["is_off"] for row in rows))


def note(text: str) -> None:
    """Beside the result."""
    sys.stderr.write(f"{text}\n")


def measure(lab: LabFile, seconds: float) -> list[dict[str, Any]]:
    """One row a rate, a delay and a share."""
    rows = []
    for node, (up_mbps, down_mbps, delay_ms) in expected(lab).items():
        for sender, receiver, mbps in ((node, BROKER, up_mbps), (BROKER, node, down_mbps)):
            note(f"TCP from {sender} to {receiver} …")
            found = stream_mbps(lab, sender, receiver, seconds)
            rows.append(row(f"rate {sender} to {receiver}, Mbit/s", mbps, found))
        note(f"UDP between {node} and {BROKER} …")
        rows.append(row(f"delay {node} to {BROKER}, ms", delay_ms, delay(lab, node), OFF_MS_MAX))
    for node, spec in lab.nodes.items():
        note(f"a busy process on {node} …")
        rows.append(row(f"CPU of {node}, cores", spec.cpu, share(node, seconds)))
    return rows


def expected(lab: LabFile) -> dict[str, tuple[float, float, float]]:
    """(up, down Mbit/s, delay ms) between each node and the broker: thinnest link, all delays."""
    found = {}
    for node in lab.nodes:
        way = [lab.link_of(node)]
        if way[0].between[1] != lab.broker_switch:
            way.append(next(link for link in lab.links if link.between == ("home", "internet")))
        own, rest = way[0], way[1:]
        # Seen from the far side, down the up-link is up.
        up = min([own.up_mbps or 1e9, *(link.down_mbps or 1e9 for link in rest)])
        down = min([own.down_mbps or 1e9, *(link.up_mbps or 1e9 for link in rest)])
        found[node] = (up, down, sum(link.delay_ms for link in way))
    return found


def row(what: str, asked: float, found: float, slack: float = 0.0) -> dict[str, Any]:
    """One line of the table; off where it misses by more than 10 % and by more than `slack`."""
    off = abs(found - asked)
    return {
        "what": what,
        "asked": asked,
        "delivered": round(found, 3),
        "off_percent": round(100 * (found / asked - 1), 1) if asked else None,
        "is_off": off > max(OFF_MAX * asked, slack),
    }


def report(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """For programs."""
    return {"machine": machine(), "rows": rows}


def machine() -> str:
    """What this is, and is not."""
    return (
        f"{os.cpu_count()} {platform.machine()} cores at N %, kernel {platform.release()};"
        " no Pi's caches or SIMD"
    )


def table(rows: list[dict[str, Any]]) -> str:
    """For people."""
    lines = [machine(), "", f"{'':38}{'asked':>9}{'delivered':>11}{'off':>9}"]
    for each in rows:
        off = "" if each["off_percent"] is None else f"{each['off_percent']:+.1f} %"
        late = "  too far off" if each["is_off"] else ""
        lines.append(
            f"{each['what']:38}{each['asked']:>9g}{each['delivered']:>11.4g}{off:>9}{late}"
        )
    return "\n".join(lines) + "\n"


# --- measuring, in processes inside the lab ------------------------------------------------------


def stream_mbps(lab: LabFile, sender: str, receiver: str, seconds: float) -> float:
    """Of a TCP stream, on the wire."""
    where = network.addresses(lab)[receiver]
    sink = start((hosts.FREE, "node"), receiver, "sink", str(seconds))
    time.sleep(STARTED_S)
    source = start((hosts.FREE, "node"), sender, "pour", where, str(seconds + SETTLE_S))
    try:
        return float(sink.communicate(timeout=30 + seconds)[0]) * 8 / 1e6 * WIRE
    finally:
        source.kill()
        source.wait()


def delay(lab: LabFile, node: str) -> float:
    """Half of the median round trip, in ms, small UDP packets."""
    echo = start((hosts.FREE, "node"), BROKER, "echo")
    time.sleep(STARTED_S)
    try:
        asked = start((hosts.FREE, "node"), node, "knock", network.addresses(lab)[BROKER])
        return float(asked.communicate(timeout=30)[0]) / 2
    finally:
        echo.kill()
        echo.wait()


def share(node: str, seconds: float) -> float:
    """CPU seconds a second of a process that wants all it can get, in a node's quota."""
    busy = start((node, "load"), node, "spin", str(seconds))
    return float(busy.communicate(timeout=30 + 20 * seconds)[0])


def start(group: tuple[str, str], host: str, *part: str) -> subprocess.Popen[str]:
    """This module again, inside the lab."""
    words = hosts.inside(host, [*hosts.PROGRAM, "edgeflow.bench.lab", "--part", *part])
    silent = subprocess.DEVNULL  # who pours is cut off when enough has come
    line = quota.find().within(*group, words)
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=silent, text=True)


def sink(seconds: str) -> None:
    """Count what one stream brings after it has settled; bytes a second."""
    with socket.create_server(("", PORT)) as door:
        stream, _ = door.accept()
        settled_s = time.monotonic() + SETTLE_S
        while time.monotonic() < settled_s:
            stream.recv(1 << 18)
        start_s, count = time.monotonic(), 0
        while time.monotonic() < start_s + float(seconds):
            count += len(stream.recv(1 << 18))
        sys.stdout.write(f"{count / (time.monotonic() - start_s)}\n")


def pour(where: str, seconds: str) -> None:
    """Send as fast as it goes."""
    piece = b"\0" * (1 << 16)
    with socket.create_connection((where, PORT)) as stream:
        until_s = time.monotonic() + float(seconds) + 1
        while time.monotonic() < until_s:
            stream.sendall(piece)


def echo() -> None:
    """Send every packet back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.bind(("", PORT))
        while True:
            packet, sender = door.recvfrom(2048)
            door.sendto(packet, sender)


def knock(where: str) -> None:
    """Median round trip in ms."""
    trips = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(2)
        for _ in range(ECHOES):
            sent_s = time.perf_counter()
            asking.sendto(b"knock", (where, PORT))
            asking.recv(2048)
            trips.append(time.perf_counter() - sent_s)
            time.sleep(ECHO_S)
    sys.stdout.write(f"{statistics.median(trips) * 1e3}\n")


def spin(seconds: str) -> None:
    """CPU seconds a wall second."""
    start_s = time.perf_counter()
    used_s = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    while time.perf_counter() < start_s + float(seconds):
        pass
    used_s = sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - used_s
    sys.stdout.write(f"{used_s / (time.perf_counter() - start_s)}\n")


PARTS: dict[str, Callable[..., None]] = {
    "sink": sink,
    "pour": pour,
    "echo": echo,
    "knock": knock,
    "spin": spin,
}

if __name__ == "__main__":
    sys.exit(main())
