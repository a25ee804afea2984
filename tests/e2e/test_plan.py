"""`edgeflow plan --cluster live`: the cluster's own estimates, with a number changed on top."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from edgeflow.model.graph import Graph
from tests.e2e.conftest import Fleet, told, until


def plan(fleet: Fleet, *words: str) -> dict[str, Any]:
    """What `edgeflow plan --json` prints."""
    printed = told(fleet, "plan", *words, "--cluster", "live", "--json")
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def test_what_if_is_asked_of_the_cluster_as_it_is(fleet: Fleet, small: tuple[Path, Graph]) -> None:
    path, _ = small
    fleet.start("edge", "edge-1")
    fleet.start("cloud", "cloud-1")
    with fleet.join() as flow:
        until(lambda: flow.snapshot().leader == "edge-1", "an edge node to lead", flow)
        until(lambda: all(link.mbps for link in flow.snapshot().links), "links to be measured")
        time.sleep(1.5)
        as_is = plan(fleet, str(path), "--source", "cam-1")
        thin = plan(fleet, str(path), "--source", "cam-1", "--set", "device:cloud.mbps=0.1")
    assert as_is["basis"].startswith("live estimates; edge-1 leads")
    assert as_is["figures"] == []
    assert {"mincut", "device-only", "edge-only", "cloud-only"} <= {
        each["algorithm"] for each in as_is["plans"]
    }
    nodes = {node for each in as_is["plans"] for node in each["compute_ms"]}
    assert nodes == {"cam-1", "edge-1", "cloud-1"}
    before, behind = (
        next(each for each in told["plans"] if each["algorithm"] == "cloud-only")
        for told in (as_is, thin)
    )
    assert behind["latency_ms"] > before["latency_ms"] + 500
    nbytes = behind["transfer_bytes"]["cam-1>cloud-1"]
    assert behind["transfer_ms"]["cam-1>cloud-1"] == pytest.approx(nbytes * 8 / 1e5 * 1e3, rel=0.2)
