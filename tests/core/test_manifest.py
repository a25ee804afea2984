"""A manifest is believed in nothing that it need not say."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeflow.errors import ModelError
from edgeflow.model import manifest
from edgeflow.model.check import check
from edgeflow.model.graph import Contract, Graph, Op, Weight

CONV: dict[str, Any] = {"stride": (1, 1), "padding": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1}


def toy() -> Graph:
    """conv, relu, add with the input: one of everything."""
    shape = (1, 3, 8, 8)
    ops = (
        Op("conv", "conv2d", ("x",), {"weight": "w"}, CONV, Contract("conv", "float32", shape)),
        Op("relu", "relu", ("conv",), {}, {}, Contract("relu", "float32", shape)),
        Op("sum", "add", ("relu", "x"), {}, {}, Contract("sum", "float32", shape)),
        Op("half", "mul", ("sum",), {}, {"right": 0.5}, Contract("half", "float32", shape)),
    )
    weights = {"w": Weight("w", "float32", (3, 3, 3, 3), "0" * 64)}
    recipe = {"input": "x", "height": 8, "crop": 0.5}
    inputs = (Contract("x", "float32", shape),)
    return Graph("toy", 1, inputs, ("half",), ops, weights, recipe, ("cat", "dog"))


def canonical(tree: Any) -> bytes:
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_a_graph_survives_its_manifest() -> None:
    text = manifest.encode(toy())
    assert manifest.decode(text) == toy()
    assert manifest.model_digest(toy()) == manifest.digest(text)
    assert canonical(json.loads(text)) == text


def test_the_order_of_weights_and_attributes_is_no_part_of_the_name() -> None:
    graph = toy()
    conv = replace(graph.ops[0], attrs=dict(reversed(list(graph.ops[0].attrs.items()))))
    turned = replace(graph, ops=(conv, *graph.ops[1:]))
    assert manifest.model_digest(turned) == manifest.model_digest(graph)


Change = Callable[[Any], None]


def changed(change: Change) -> bytes:
    tree = json.loads(manifest.encode(toy()))
    change(tree)
    return canonical(tree)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(evil=1), "unknown field `evil`"),
        (lambda m: m["ops"][0].update(code="x"), "unknown field `code`"),
        (lambda m: m["ops"][1].update(kind="pickle"), "op relu .*unknown op 'pickle'"),
        (lambda m: m["ops"][0].update(shape=[1, 3, 9, 9]), "op conv .*claims"),
        (lambda m: m["ops"][0].update(dtype="float64"), "op conv .*claims"),
        (lambda m: m["ops"][0].update(shape="big"), "malformed"),
        (lambda m: m["ops"][1].update(inputs=["sum"]), "op relu .*reads 'sum'"),
        (lambda m: m["ops"][1].update(name="x"), "op x .*another tensor"),
        (lambda m: m["ops"][1].update(name="a..b"), "'a..b' is no name"),
        (lambda m: m["ops"][1].update(name="a|b"), "is no name"),
        (lambda m: m["ops"][0]["attrs"].update(stride=[1, "1"]), "op conv"),
        (lambda m: m["ops"][0]["attrs"].update(stride=[[1], [1]]), "neither a scalar"),
        (lambda m: m["ops"][0]["attrs"].update(stride=None), "neither a scalar"),
        (lambda m: m["ops"][0]["attrs"].update(groups={}), "neither a scalar"),
        (lambda m: m["ops"][0].update(weights={"weight": "v"}), "'v' is not among the weights"),
        (lambda m: m["weights"].update(v=m["weights"]["w"]), "'v' is used by no op"),
        (lambda m: m["weights"]["w"].update(sha256="0"), "weight w"),
        (lambda m: m["weights"]["w"].update(shape=[3, 3, 1 << 40, 3]), "weight w"),
        (lambda m: m["weights"]["w"].update(dtype="object"), "weight w: unknown dtype"),
        (lambda m: m["inputs"][0].update(shape=[1, 3, -8, 8]), "is no shape"),
        (lambda m: m["inputs"][0].update(shape=[1 << 30, 1 << 30]), "more than"),
        (lambda m: m["inputs"][0].update(shape=[1] * 9), "is no shape"),
        (lambda m: m.update(outputs=["nothing"]), "output 'nothing'"),
        (lambda m: m.update(outputs=[]), "at least one output"),
        (lambda m: m.update(outputs=["sum"]), "op half: nobody reads"),
        (lambda m: m.update(ops=[]), "1 to"),
        (lambda m: m.update(opset=3), "needs op set 3, this edgeflow knows 1 to 2"),
        (lambda m: m.update(opset=3, evil=1), "needs op set 3|unknown field"),
        (lambda m: m.update(opset=2), "op set 2 is named, its ops need 1"),
        (lambda m: m.update(opset=0), "needs op set 0"),
        (lambda m: m["inputs"][0].update(shape=["batch", 3, 8, 8]), "open dimension 'batch'"),
        (lambda m: m.update(format="other"), "format 'other'"),
        (lambda m: m.update(name="../../etc"), "no model name"),
        (lambda m: m.update(recipe={"a": {"b": 1}}), "recipe"),
        (lambda m: m.update(recipe={str(n): 1 for n in range(99)}), "recipe"),
        (lambda m: m.update(labels=[1]), "malformed"),
        (lambda m: m.update(labels=["a"] * 100_001), "labels"),
    ],
)
def test_a_forged_manifest_is_refused_by_name(change: Change, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        manifest.decode(changed(change))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff\xfe",
        b'{"format":"edgeflow-model-1"}',
        b'{"format":"edgeflow-model-1","opset":1,"labels":["\\ud800"]}',
        b"[" * 100_000,
        b'{"ops":' * 50_000,
    ],
)
def test_what_is_no_manifest_is_refused(text: bytes) -> None:
    with pytest.raises(ModelError):
        manifest.decode(text)


def test_a_manifest_spelled_otherwise_has_no_second_name() -> None:
    text = manifest.encode(toy())
    for other in (
        text.replace(b",", b", ", 1),
        json.dumps(json.loads(text)).encode(),
        text.replace(b'{"format"', b'{"format":"edgeflow-model-1","format"', 1),
        text.replace(b'"right":0.5', b'"right":5e-1'),
    ):
        assert other != text
        with pytest.raises(ModelError):
            manifest.decode(other)


def test_a_manifest_too_long_is_not_even_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "MANIFEST_BYTES_MAX", 10)
    with pytest.raises(ModelError, match="more than 10"):
        manifest.decode(manifest.encode(toy()))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_lacks_is_not_written(number: float) -> None:
    graph = toy()
    half = replace(graph.ops[3], attrs={"right": number})
    with pytest.raises(ModelError, match="op half"):
        manifest.encode(replace(graph, ops=(*graph.ops[:3], half)))
    with pytest.raises(ModelError, match="recipe"):
        manifest.encode(replace(graph, recipe={"crop": number}))


@given(st.binary(min_size=1, max_size=3), st.integers(0, 10_000))
@settings(max_examples=300, deadline=None)
def test_a_changed_byte_is_refused_or_gives_another_checked_model(junk: bytes, at: int) -> None:
    text = manifest.encode(toy())
    at %= len(text)
    other = text[:at] + junk + text[at + len(junk) :]
    try:
        graph = manifest.decode(other)
    except ModelError:
        return
    check(graph)
    assert manifest.encode(graph) == other
