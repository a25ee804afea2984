"""ONNX files that cannot come in: an error that names the place and the cure, and nothing run."""

from __future__ import annotations

import os
import random
import resource
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgeflow.draft.inputs import parse_contract
from edgeflow.errors import EdgeflowError, ModelError, UsageError
from edgeflow.importer import fold, import_onnx, source

node = helper.make_node
Weights = dict[str, Any]


Shape = Sequence[int | str | None] | None


def info(name: str, shape: Shape = (1, 2, 6, 6)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def model(
    *nodes: NodeProto,
    weights: Weights | None = None,
    shape: Shape = (1, 2, 6, 6),
    opset: int = 17,
    **more: Any,
) -> ModelProto:
    """Nodes from `x` to `y`."""
    stored = [numpy_helper.from_array(np.asarray(a), name) for name, a in (weights or {}).items()]
    graph = helper.make_graph(list(nodes), "g", [info("x", shape)], [info("y", None)], stored)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.example", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **more)


RELU = node("Relu", ["x"], ["y"])


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[..., str]:
    """What is said of a model, or of bytes, which must be refused."""

    def refuse(
        what: ModelProto | bytes, kind: type[EdgeflowError] = ModelError, **told: Any
    ) -> str:
        path = tmp_path / "net.onnx"
        path.write_bytes(what if isinstance(what, bytes) else what.SerializeToString())
        with pytest.raises(kind) as error:
            import_onnx(path, **told)
        return str(error.value)

    return refuse


Refusal = Callable[..., str]


def test_an_unknown_op_is_named_with_its_node_and_the_others(refusal: Refusal) -> None:
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("NonZero", ["a"], ["b"], name="/find/NonZero"),
        node("Cast", ["b"], ["c"], to=TensorProto.FLOAT),
        node("Det", ["c"], ["d"]),
        node("Magic", ["d"], ["y"], domain="com.example"),
    ]
    told = refusal(model(*nodes))
    assert "NonZero at node '/find/NonZero' is outside edgeflow's op set" in told
    assert "onnx.utils.extract_model" in told
    assert "Outside it too: Det, com.example.Magic." in told


def test_a_node_without_a_name_is_told_by_what_it_makes(refusal: Refusal) -> None:
    told = refusal(model(node("Det", ["x"], ["y"])))
    assert "Det at the node that makes 'y' is outside" in told


def test_an_op_that_nobody_reads_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(model(node("Det", ["x"], ["z"]), RELU).SerializeToString())
    assert [op.kind for op in import_onnx(path).ops] == ["relu"]


def branch() -> GraphProto:
    return helper.make_graph([node("Relu", ["x"], ["b"])], "then", [], [info("b", None)])


@pytest.mark.parametrize(
    "odd",
    [
        node("If", ["c"], ["y"], then_branch=branch(), else_branch=branch()),
        node("Loop", ["", "c", "x"], ["y"], body=branch()),
        node("Scan", ["x"], ["y"], body=branch(), num_scan_inputs=1),
        node("SequenceConstruct", ["x"], ["y"]),
        node("Constant", [], ["y"], sparse_value=onnx.SparseTensorProto()),
    ],
    ids=lambda odd: odd.op_type,
)
def test_control_flow_sequences_and_sparse_are_named(odd: NodeProto, refusal: Refusal) -> None:
    told = refusal(model(odd, weights={"c": np.array(True)}))
    assert f"{odd.op_type} at the node that makes 'y' is outside" in told


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        (
            (1, 3, "height", "width"),
            "dimension 2 of input x is 'height', its shape 1x3xheightx",
        ),
        (("n", 3, None, 6), "dimension 2 of input x is '', its shape nx3x?x6"),
        ((None, 3, 6, 6), "dimension 0 of input x is ''"),
        ((0, 3, 6, 6), "dimension 0 of input x is 0"),
        ((1, 3, -1, 6), "dimension 2 of input x is -1"),
        (None, "input x has no shape"),
    ],
)
def test_open_sizes_are_named_with_what_to_say(shape: Any, told: str, refusal: Refusal) -> None:
    text = refusal(model(RELU, shape=shape))
    assert told in text
    assert "--input x=float32:1x3x6" in text


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ("z=float32:1x2x6x6", "the model takes x, each given once"),
        ("x=float32:2x6x6", "3 dimensions given, the model declares 1x2x6x6"),
        ("x=float64:1x2x6x6", "the model takes float32 (or uint8"),
        ("x=bool:1x2x6x6", "the model takes float32 (or uint8"),
    ],
)
def test_an_input_that_does_not_fit_is_wrong_usage(wish: str, told: str, refusal: Refusal) -> None:
    assert told in refusal(model(RELU), UsageError, inputs=[parse_contract(wish)])


def test_other_values_than_tensors_of_numbers_are_named(refusal: Refusal) -> None:
    made = model(RELU)
    made.graph.input[0].type.sequence_type.elem_type.tensor_type.elem_type = 1
    assert "input x is a sequence" in refusal(made)
    made = model(RELU)
    made.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    assert "input x is of string" in refusal(made)
    text = numpy_helper.from_array(np.array(["a"], dtype=object), "k")
    told = refusal(model(node("Constant", [], ["k"], value=text), node("Add", ["x", "k"], ["y"])))
    assert "k holds string" in told
    half = helper.make_tensor("k", TensorProto.BFLOAT16, [1], [1.0])
    told = refusal(model(node("Constant", [], ["k"], value=half), node("Add", ["x", "k"], ["y"])))
    assert "k holds bfloat16" in told
    made = model(RELU)
    made.graph.sparse_initializer.add()
    assert "sparse weights" in refusal(made)


@pytest.mark.parametrize("opset", [0, 1, 8, 29, 10_000])
def test_a_set_of_operators_that_we_do_not_know_is_named(opset: int, refusal: Refusal) -> None:
    told = refusal(model(RELU, opset=opset))
    assert f"operator set {opset}, 9 to " in told
    assert "export it again" in told


@pytest.mark.parametrize("data", [b"", b"\x00" * 40, b"PK\x03\x04 zip", b"{}", os.urandom(300)])
def test_another_kind_of_file_is_named(data: bytes, refusal: Refusal) -> None:
    assert "net.onnx is no whole ONNX file" in refusal(data)


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*none\.onnx: No such file"):
        import_onnx(tmp_path / "none.onnx")
    with pytest.raises(UsageError, match="is no file"):
        import_onnx(tmp_path)


def test_a_file_beyond_what_protobuf_reads_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with path.open("wb") as file:
        file.truncate(source.FILE_BYTES_MAX + 1)  # sparse: takes no room
    with pytest.raises(ModelError, match="save_as_external_data=True"):
        import_onnx(path)


def apart(tensor: TensorProto, **fields: object) -> TensorProto:
    """The tensor with its bytes said to lie elsewhere."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in fields.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def external(**fields: object) -> ModelProto:
    made = model(node("Add", ["x", "k"], ["y"]), weights={"k": np.ones(6, np.float32)})
    apart(made.graph.initializer[0], **fields)
    return made


def test_weights_beside_the_model_must_be_there_and_whole(refusal: Refusal, tmp_path: Path) -> None:
    assert "there is no file" in refusal(external(location="w.bin"))
    (tmp_path / "w.bin").write_bytes(b"\x00" * 23)
    for fields in ({}, {"length": 24}, {"offset": 4}, {"offset": -4, "length": 24}):
        told = refusal(external(location="w.bin", **fields))
        assert "weight k of (6,) needs 24 bytes" in told
    assert "its dtype or its place is none" in refusal(external(location="w.bin", offset="zero"))
    (tmp_path / "w.bin").write_bytes(b"\x00" * 25)
    assert "needs 24 bytes" in refusal(external(location="w.bin"))


def test_weights_are_read_in_the_folder_of_the_model_only(refusal: Refusal, tmp_path: Path) -> None:
    secret = tmp_path.parent / "secret.bin"
    secret.write_bytes(b"\x00" * 24)
    (tmp_path / "below").mkdir()
    for place in (secret, "../secret.bin", "below/../../secret.bin", "", "..\\secret.bin", "a\0b"):
        assert "only files in the folder of the model" in refusal(external(location=place))
    (tmp_path / "w.bin").symlink_to(secret)
    assert "is a link" in refusal(external(location="w.bin"))
    (tmp_path / "up").symlink_to(tmp_path.parent)
    assert "is a link" in refusal(external(location="up/secret.bin"))
    os.mkfifo(tmp_path / "pipe")
    assert "there is no file" in refusal(external(location="pipe"))


def test_few_bytes_beside_a_model_do_not_become_many_weights(
    refusal: Refusal, tmp_path: Path
) -> None:
    (tmp_path / "w.bin").write_bytes(b"\x00" * 24)
    made = external(location="w.bin")
    for index in range(9):
        made.graph.initializer.add().CopyFrom(made.graph.initializer[0])
        made.graph.initializer[-1].name = f"k{index}"
    assert "used more than 4 times" in refusal(made)


def test_sizes_that_contradict_each_other_are_named(refusal: Refusal) -> None:
    kernel = {"w": np.ones((3, 5, 3, 3), np.float32)}
    told = refusal(model(node("Conv", ["x", "w"], ["y"], name="c"), weights=kernel))
    assert "Conv at node 'c'" in told
    assert "does not fit 2 channels" in told
    made = model(RELU)
    made.graph.output[0].CopyFrom(info("y", (1, 2, 6, 7)))
    assert "the file declares y as (1, 2, 6, 7), but what it reads makes (1, 2, 6, 6)" in refusal(
        made
    )
    made = model(node("Add", ["x", "k"], ["y"]), weights={"k": np.ones(6, np.float32)})
    made.graph.initializer[0].dims[0] = 7
    assert "its bytes are no float32 of (7,)" in refusal(made)


def test_a_graph_that_does_not_hang_together_is_named(refusal: Refusal) -> None:
    assert "nothing before it makes 'z'" in refusal(model(node("Add", ["x", "z"], ["y"])))
    assert "makes 'x' again" in refusal(model(node("Relu", ["x"], ["x"]), RELU))
    told = refusal(model(node("Relu", ["x", "x"], ["y"])))
    assert "Relu at the node that makes 'y' is malformed" in told
    told = refusal(model(node("Relu", ["x"], ["a"])))
    assert "output 'y' does not depend on the model's inputs" in told
    alone = model(node("Constant", [], ["y"], value_float=1.0))
    assert "does not depend on the model's inputs" in refusal(alone)


ODD = {
    "weight depends": node("Conv", ["x", "x"], ["y"]),
    "averages with pads": node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], pads=[0, 0, 1, 1]),
    "norms over 4 channels": node("LRN", ["x"], ["y"], size=4),
    "mode 'cubic'": node("Resize", ["x", "", "s"], ["y"], mode="cubic"),
    "tf_crop_and_resize": node(
        "Resize", ["x", "", "s"], ["y"], coordinate_transformation_mode="tf_crop_and_resize"
    ),
    "takes other pixels": node("Resize", ["x", "", "s"], ["y"], nearest_mode="ceil"),
    "linear with 'asymmetric'": node(
        "Resize", ["x", "", "s"], ["y"], mode="linear", coordinate_transformation_mode="asymmetric"
    ),
    "linear with 'pytorch_half_pixel'": node(
        "Resize",
        ["x", "", "", "point"],
        ["y"],
        mode="linear",
        coordinate_transformation_mode="pytorch_half_pixel",
    ),
    "power 2.5": node("Pow", ["x", "p"], ["y"]),
    "steps backwards": node("Slice", ["x", "one", "none", "one", "back"], ["y"]),
    "only indices at equal distances": node("Gather", ["x", "zigzag"], ["y"], axis=3),
    "its input 1 is constant": node("Concat", ["x", "x1"], ["y"], axis=0),
    "further outputs": node("MaxPool", ["x"], ["y", "where"], kernel_shape=[2, 2]),
    "batch norm in training": node(
        "BatchNormalization", ["x", *"vvvv"], ["y", "m", "w"], training_mode=1
    ),
    "does not reshape": node("Reshape", ["x", "one"], ["y"]),
    "pad mode 'wrap'": node("Pad", ["x", "pads"], ["y"], mode="wrap"),
}
CONSTANTS: Weights = {
    "v": np.ones(2, np.float32),
    "s": np.array([1, 1, 1.7, 1.7], np.float32),
    "p": np.array(2.5, np.float32),
    "point": np.array([1, 2, 1, 6]),
    "one": np.array([1]),
    "none": np.array([-9]),
    "back": np.array([-1]),
    "zigzag": np.array([3, 1, 2]),
    "x1": np.ones((1, 2, 6, 6), np.float32),
    "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
}


@pytest.mark.parametrize("told", ODD)
def test_what_an_op_cannot_do_here_is_named(told: str, refusal: Refusal) -> None:
    text = refusal(model(ODD[told], weights=CONSTANTS, opset=19))
    assert told in text
    assert text.startswith(f"{ODD[told].op_type} at ")


def test_a_convolution_over_a_line_is_named(refusal: Refusal) -> None:
    weights = {"w": np.ones((2, 2, 3), np.float32)}
    told = refusal(model(node("Conv", ["x", "w"], ["y"]), weights=weights, shape=(1, 2, 9)))
    assert "works on 3 dimensions; the op set has (N, C, H, W)" in told


BOMBS = {
    "ConstantOfShape": [node("ConstantOfShape", ["big"], ["k"])],
    "Expand": [node("Expand", ["p", "big"], ["k"])],
    "Tile": [node("Tile", ["v", "much"], ["k"])],
    "Range": [node("Range", ["zero", "huge", "unit"], ["k"])],
    "Pad": [node("Pad", ["v", "wide"], ["k"])],
    "Mul": [node("Mul", ["column", "row"], ["k"])],
    "Concat": [
        node("Concat", ["v"] * 10, ["c0"], axis=0),
        *(node("Concat", [f"c{i}"] * 10, [f"c{i + 1}"], axis=0) for i in range(12)),
        node("Identity", ["c12"], ["k"]),
    ],
}
LARGE: Weights = {
    "p": np.array(2.5, np.float32),
    "v": np.ones(2, np.float32),
    "big": np.array([1 << 20, 1 << 20]),
    "much": np.array([1 << 40]),
    "zero": np.array(0),
    "huge": np.array(1 << 50),
    "unit": np.array(1),
    "wide": np.array([1 << 40, 0]),
    "column": np.ones((20_000, 1), np.float32),
    "row": np.ones((1, 20_000), np.float32),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_file_makes_no_large_constant(bomb: str, refusal: Refusal) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = refusal(model(*BOMBS[bomb], node("Add", ["x", "k"], ["y"]), weights=LARGE))
    assert "too many for this file" in told
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < (4 * fold.BUDGET_BYTES >> 10)


def test_functions_that_never_end_or_become_too_much_are_not_inlined(refusal: Refusal) -> None:
    opsets = [helper.make_opsetid("com.example", 1), helper.make_opsetid("", 17)]

    def function(name: str, *calls: str) -> onnx.FunctionProto:
        nodes = [node(call, ["a"], ["b"], domain="com.example") for call in calls]
        return helper.make_function("com.example", name, ["a"], ["b"], nodes, opsets)

    call = node("F0", ["x"], ["y"], domain="com.example")
    told = refusal(model(call, functions=[function("F0", "F1"), function("F1", "F0")]))
    assert "calls itself" in told
    many = [function(f"F{i}", *[f"F{i + 1}"] * 10) for i in range(12)]
    assert "functions become 1000000000000 nodes" in refusal(model(call, functions=many))


def fuzzed() -> bytes:
    """A model with something of everything, 3 kB."""
    weights = {
        "w": np.random.default_rng(0).standard_normal((4, 2, 3, 3)).astype(np.float32),
        "b": np.ones(4, np.float32),
        "two": np.array([2]),
        "rest": np.array([-1]),
        "s": np.array([1, 1, 2, 2], np.float32),
    }
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], name="/conv/Conv", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c", "b", "b", "b", "b"], ["n"], epsilon=0.1),
        node("Sigmoid", ["n"], ["g"]),
        node("Mul", ["n", "g"], ["m"]),
        node("MaxPool", ["m"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Resize", ["p", "", "s"], ["r"], mode="nearest"),
        node("Concat", ["r", "m"], ["k"], axis=1),
        node("Shape", ["k"], ["shape"]),
        node("Gather", ["shape", "two"], ["rows"]),
        node("Concat", ["rows", "rest"], ["to"], axis=0),
        node("Reshape", ["k", "to"], ["f"]),
        node("Relu", ["f"], ["f2"]),
        node("Softmax", ["f2"], ["y"], axis=-1),
    ]
    return bytes(model(*nodes, weights=weights).SerializeToString())


def damaged(data: bytes, seed: int) -> bytes:
    """Cut off, or with bits flipped, or with bytes put in."""
    chance = random.Random(seed)
    changed = bytearray(data)
    match seed % 4:
        case 0:
            return data[: chance.randrange(len(data))]
        case 1:
            at = chance.randrange(len(data))
            changed[at:at] = chance.randbytes(chance.randint(1, 9))
        case _:
            for _ in range(chance.randint(1, 6)):
                changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def test_damaged_files_are_refused_or_read_and_nothing_else(tmp_path: Path) -> None:
    data, path, read = fuzzed(), tmp_path / "net.onnx", 0
    path.write_bytes(data)
    assert len(import_onnx(path).ops) > 6
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(800):
        path.write_bytes(damaged(data, seed))
        try:
            import_onnx(path)
            read += 1
        except EdgeflowError:
            continue
        except BaseException as error:
            pytest.fail(f"seed {seed}: {error!r}")
    assert 0 < read < 700
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 << 10
