"""Using edgeflow from Python: this process becomes a node.

    with edgeflow.connect("mqtt://broker", name="cam-1") as flow:
        flow.deploy("model.safetensors")
        result = flow.infer(picture)
        for result in flow.stream(pictures): ...

A client is a node like any other: it announces itself, its frames enter here, and if it computes it
may be given layers to run.
"""

from __future__ import annotations

from threading import Thread
from typing import Any

from edgeflow.client.flow import Flow
from edgeflow.client.result import InferResult
from edgeflow.config import NodeConfig
from edgeflow.errors import BrokerError
from edgeflow.io.settings import tier_named
from edgeflow.service import Service

__all__ = ["Flow", "InferResult", "connect"]

CONNECT_S = 8.0
"""How long `connect` waits for a broker before it says that there is none."""
LEAVE_S = 5.0
"""A loop that was told to end does so within this."""


def connect(
    url: str = "mqtt://127.0.0.1:1883",
    *,
    name: str,
    tier: str = "device",
    config: NodeConfig | None = None,
    **settings: Any,
) -> Flow:
    """Make this process a node of the cluster behind a broker.

    `settings` are fields of NodeConfig; ports are chosen freely unless given. BrokerError where
    nobody answers at `url`.
    """
    if config is None:
        given = {"tensors_port": 0, "signals_port": 0, **settings}
        config = NodeConfig(name=name, tier=tier_named(tier, "connect"), brokers=(url,), **given)
    service = Service(config)
    failure: list[BaseException] = []

    def run() -> None:
        try:
            service.loop.run()
        except BaseException as error:
            failure.append(error)

    thread = Thread(target=run, name=f"edgeflow-{name}", daemon=True)
    thread.start()
    flow = Flow(service, thread, failure)
    try:
        service.mqtt.wait_up(CONNECT_S)
    except BrokerError:
        service.inbox.put(service.loop.halt)
        thread.join(LEAVE_S)
        service.clean_up()
        flow.need_no_failure()
        raise
    return flow
