"""Where frames go while the running plan's way is doubted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeflow.costmodel.cost import Cluster
from edgeflow.mind.refuge import DEARER, best_refuge
from edgeflow.planning.standing import standing
from tests.core.asking import GRAPH, SPEC, cluster

LOCAL, EDGE, CLOUD = "cast..fc @cam", "cast..fc @edge", "cast..fc @cloud"


def fleet(cam_times: float) -> Cluster:
    """Where the camera alone takes so many times as long as the cloud machine does."""
    here = cluster(50, 50)
    prices = [standing(SPEC, GRAPH, here, line).seconds for line in (LOCAL, CLOUD)]
    camera = replace(here.nodes["cam"], ratio=cam_times * prices[1] / prices[0])
    return replace(here, nodes={**here.nodes, "cam": camera})


@pytest.mark.parametrize(
    ("cam_times", "waited", "lines", "expected"),
    [
        (0.9 * DEARER, 2.0, [EDGE, LOCAL], LOCAL),
        (1.1 * DEARER, 2.0, [EDGE, LOCAL], EDGE),
        (1.1 * DEARER, 1.2 * DEARER, [EDGE, LOCAL], LOCAL),
        (1.1 * DEARER, 2.0, [LOCAL], ""),
        (0.9 * DEARER, 2.0, [], ""),
    ],
)
def test_what_needs_no_radio_is_taken_unless_it_is_far_too_slow(
    cam_times: float, waited: float, lines: list[str], expected: str
) -> None:
    here = fleet(cam_times)
    assert standing(SPEC, GRAPH, here, EDGE).seconds < standing(SPEC, GRAPH, here, LOCAL).seconds
    waited_s = waited * standing(SPEC, GRAPH, here, CLOUD).seconds
    assert best_refuge(GRAPH, here, CLOUD, lines, waited_s) == expected
