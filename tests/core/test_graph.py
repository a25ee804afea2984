"""Layers, cuts and borders of a Graph, on graphs small enough to see through."""

from __future__ import annotations

import random

import pytest

from edgeflow.errors import ModelError
from edgeflow.model.graph import Contract, Graph, Op

SHAPE = (1, 4)


def op(name: str, kind: str, *inputs: str) -> Op:
    attrs = {"axis": 1} if kind == "softmax" else {}
    return Op(name, kind, inputs, {}, attrs, Contract(name, "float32", SHAPE))


def graph(*ops: Op, inputs: tuple[str, ...] = ("x",), outputs: tuple[str, ...] = ()) -> Graph:
    contracts = tuple(Contract(name, "float32", SHAPE) for name in inputs)
    return Graph("toy", 1, contracts, outputs or (ops[-1].name,), ops, {})


def names(graph: Graph) -> list[tuple[str, ...]]:
    return [tuple(op.name for op in layer.ops) for layer in graph.layers]


def test_an_elementwise_op_joins_the_op_it_alone_reads() -> None:
    toy = graph(op("a", "softmax", "x"), op("b", "relu", "a"), op("c", "tanh", "b"))
    assert names(toy) == [("a", "b", "c")]
    assert toy.layers[0].output == "c"
    assert toy.layers[0].inputs == ("x",)


def test_a_tensor_read_twice_ends_its_layer() -> None:
    toy = graph(op("a", "softmax", "x"), op("b", "relu", "a"), op("c", "add", "a", "b"))
    assert names(toy) == [("a",), ("b",), ("c",)]


def test_a_tensor_that_is_an_output_ends_its_layer() -> None:
    toy = graph(op("a", "softmax", "x"), op("b", "relu", "a"), outputs=("a", "b"))
    assert names(toy) == [("a",), ("b",)]


def test_an_elementwise_op_on_an_input_is_a_layer_of_its_own() -> None:
    toy = graph(op("a", "relu", "x"), op("b", "softmax", "a"))
    assert names(toy) == [("a",), ("b",)]


def test_an_op_with_two_tensors_joins_nobody() -> None:
    toy = graph(op("a", "softmax", "x"), op("b", "add", "a", "a"))
    assert names(toy) == [("a",), ("b",)]


def test_layers_stand_in_topological_order_also_where_their_ops_interleave() -> None:
    toy = graph(
        op("a", "softmax", "x"),
        op("b", "softmax", "x"),
        op("ra", "relu", "a"),
        op("rb", "relu", "b"),
        op("c", "add", "ra", "rb"),
    )
    assert names(toy) == [("a", "ra"), ("b", "rb"), ("c",)]
    known = {"x"}
    for layer in toy.layers:
        assert known.issuperset(layer.inputs)
        known.add(layer.output)


def test_a_residual_may_be_cut_only_around_it() -> None:
    toy = graph(
        op("a", "softmax", "x"),
        op("b", "softmax", "a"),
        op("c", "add", "a", "b"),
        op("d", "softmax", "c"),
    )
    assert toy.cuts == (0, 1, 3)
    assert toy.crossing(2) == ("a", "b")


def test_an_output_made_before_a_cut_does_not_cross_it() -> None:
    toy = graph(
        op("a", "softmax", "x"),
        op("b", "softmax", "a"),
        op("c", "softmax", "a"),
        outputs=("b", "c"),
    )
    assert toy.cuts == (0, 1, 2)
    assert toy.crossing(2) == ("a",)


def test_a_second_input_that_is_read_late_crosses_all_before_it() -> None:
    toy = graph(
        op("a", "softmax", "x"),
        op("b", "add", "a", "y"),
        op("c", "softmax", "b"),
        inputs=("x", "y"),
    )
    assert toy.cuts == (2,)


@pytest.mark.parametrize("seed", range(50))
def test_cuts_are_the_positions_where_one_tensor_crosses(seed: int) -> None:
    rng, made, ops = random.Random(seed), ["x"], []
    for at in range(rng.randint(2, 14)):
        kind = rng.choice(["relu", "softmax", "add"])
        count = 2 if kind == "add" else 1
        ops.append(op(f"t{at}", kind, *(rng.choice(made[-3:]) for _ in range(count))))
        made.append(f"t{at}")
    read = {name for each in ops for name in each.inputs}
    outputs = tuple(each.name for each in ops if each.name not in read)
    toy = graph(*ops, outputs=outputs)
    counted = tuple(at for at in range(len(toy.layers)) if len(toy.crossing(at)) == 1)
    assert toy.cuts == counted


def test_the_border_of_some_layers() -> None:
    toy = graph(
        op("a", "softmax", "x"),
        op("b", "softmax", "a"),
        op("c", "add", "a", "b"),
        op("d", "softmax", "c"),
    )
    assert toy.boundary(["a", "b"]) == (("x",), ("a", "b"))
    assert toy.boundary(["b", "c"]) == (("a",), ("c",))
    assert toy.boundary(["d"]) == (("c",), ("d",))


def test_a_layer_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match="no layer 'z'"):
        graph(op("a", "softmax", "x")).layer("z")
