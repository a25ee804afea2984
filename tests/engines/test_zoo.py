"""The network with real weights knows real pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeflow import audit, picture
from edgeflow.errors import UsageError
from edgeflow.exporter import export, zoo
from edgeflow.model.graph import Graph

skimage = pytest.importorskip("skimage")
PICTURES = Path(skimage.__file__).parent / "data"


@pytest.fixture(scope="module", params=[224, 448])
def lite0(request: pytest.FixtureRequest) -> Graph:
    return export(zoo.efficientnet_lite0(size=request.param), name="lite0")


@pytest.mark.parametrize(
    ("file", "label"), [("chelsea.png", "Egyptian cat"), ("coffee.png", "espresso")]
)
def test_the_cat_is_a_cat_and_the_espresso_an_espresso(lite0: Graph, file: str, label: str) -> None:
    (scores,) = audit.run(lite0, picture.inputs_of(lite0, PICTURES / file)).values()
    assert lite0.labels[int(scores.argmax())] == label
    assert abs(float(scores.sum()) - 1) < 1e-4


def test_the_raw_picture_is_what_crosses_at_the_first_cut(lite0: Graph) -> None:
    assert lite0.cuts[0] == 0
    assert lite0.crossing(0) == ("image",)
    assert lite0.tensors["image"].dtype == "uint8"


def test_an_architecture_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="no architecture 'resnet19'"):
        zoo.pytorchcv("resnet19")
