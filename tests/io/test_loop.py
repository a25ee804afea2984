"""The loop thread, seen from outside it."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

from edgeflow.config import NodeConfig
from edgeflow.service import Service


def test_a_signal_that_interrupts_the_inbox_still_drains_the_node(tmp_path: Path) -> None:
    """A signal's handler runs between two lines of the loop, also where the loop holds a lock."""
    config = NodeConfig(name="edge-1", compute="none", reachable=False, state_dir=str(tmp_path))
    service = Service(config)
    running = Thread(target=service.loop.run, daemon=True)
    running.start()
    with service.inbox._lock:
        handler = Thread(target=service.loop.drain, args=("SIGTERM",), daemon=True)
        handler.start()
        handler.join(5)
        waits = handler.is_alive()
    running.join(20)
    service.clean_up()
    assert not waits
    assert not running.is_alive()


def test_a_frame_that_comes_while_the_loop_ends_is_answered_all_the_same(tmp_path: Path) -> None:
    config = NodeConfig(name="cam-1", compute="none", reachable=False, state_dir=str(tmp_path))
    service = Service(config)
    said: list[str] = []

    def submit() -> None:
        service.loop.submit("job", {}, None, lambda answer: said.append(answer.code))

    service.loop.halt()
    submit()
    service.loop.run()
    submit()
    service.clean_up()
    assert said == ["stopped", "stopped"]
