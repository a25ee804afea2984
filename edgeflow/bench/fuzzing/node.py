"""One node of a fuzzed fleet, as its own program does it, that also writes its counters to a file.

    python -m edgeflow.bench.fuzzing.node worker NAME URL FOLDER
    python -m edgeflow.bench.fuzzing.node source NAME URL FOLDER RATE_FPS

The source deploys the small model over the workers, hands frames in at a steady rate until SIGTERM,
and writes a ledger with the right answers in it.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from pathlib import Path
from threading import Thread
from typing import Any

import edgeflow
from edgeflow.bench.fuzzing import subject
from edgeflow.client.driver import Driver
from edgeflow.config import NodeConfig
from edgeflow.io.ledgerfile import LedgerFile
from edgeflow.service import Service

DEPLOYMENT = "fuzzed"
WORKERS = ("worker-1", "worker-2")
PLACEMENT = "one @worker-1 | two..three @worker-2"
FRAMES = 16
READY_S = 60.0
TELL_S = 0.25


def main() -> int:
    """One of the two."""
    role, name, url, folder, *rest = sys.argv[1:]
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s", level="WARNING")
    home = Path(folder)
    if role == "worker":
        return work(name, url, home)
    return submit(name, url, home, float(rest[0]))


def work(name: str, url: str, home: Path) -> int:
    """An edge node until SIGTERM."""
    config = NodeConfig(
        name=name,
        brokers=(url,),
        threads=1,
        tensors_port=0,
        signals_port=0,
        state_dir=str(home / name),
    )
    service = Service(config)
    signal.signal(signal.SIGTERM, lambda *_: service.loop.drain("SIGTERM"))
    tell(service, home / f"{name}.json")
    try:
        service.loop.run()
    finally:
        service.clean_up()
    return 0


def submit(name: str, url: str, home: Path, rate_fps: float) -> int:
    """Deploy, then frames until SIGTERM."""
    frames = subject.inputs(FRAMES)
    with edgeflow.connect(url, name=name, compute="none", threads=1) as flow:
        tell(flow.service, home / f"{name}.json")
        until_s = time.monotonic() + READY_S
        while time.monotonic() < until_s:
            ready = {node.name for node in flow.snapshot().nodes if node.state == "ready"}
            if ready >= set(WORKERS):
                break
            time.sleep(0.05)
        flow.deploy(subject.model(), name=DEPLOYMENT, placement=PLACEMENT, window_frames=8)
        with LedgerFile(home / "ledger.jsonl") as ledger:
            driver = Driver(flow, DEPLOYMENT, frames, ledger, subject.expected(frames))
            signal.signal(signal.SIGTERM, lambda *_: driver.stop())
            driver.run(seconds=1e9, rate_fps=rate_fps)
    return 0


def tell(service: Service, path: Path) -> None:
    """Write what was refused so far, again and again."""

    def run() -> None:
        while True:
            text = json.dumps(counters(service))
            temporary = path.with_suffix(".new")
            temporary.write_text(text)
            temporary.replace(path)
            time.sleep(TELL_S)

    Thread(target=run, name="fuzz-counters", daemon=True).start()


def counters(service: Service) -> dict[str, Any]:
    """By reason."""
    parts = service.core.parts
    links = {f"links: {reason}": count for reason, count in service.links.counters.items()}
    mqtt = {f"mqtt: {reason}": count for reason, count in service.mqtt.counters.items()}
    core = {"frames: no party to them": parts.strangers, "frames: refused": parts.stage.refused}
    return {**links, **mqtt, **core, "inbox: full": service.inbox.dropped}


if __name__ == "__main__":
    sys.exit(main())
