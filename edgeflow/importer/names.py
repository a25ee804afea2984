"""What a layer is called, out of what the file calls its node.

/layer1/layer1.0/conv1/Conv ─▶ layer1.0.conv1        the module's path, as its author knows it
/layer1/layer1.0/Add ─▶ layer1.0.add                 where other modules lie below the path
model/conv/Conv2D ─▶ model.conv.Conv2D               any other name
(none, makes 363) ─▶ conv_363
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from onnx import NodeProto

_WORDS = {"Concat": "cat", "Reshape": "view"}
"""What torch calls them, where ONNX says it otherwise."""


def places(nodes: Sequence[NodeProto]) -> list[str]:
    """For each node the name to ask for; not unique."""
    paths = [_path(node) for node in nodes]
    parents = {above for path in paths if path is not None for above in _above(path)}
    return [_place(node, path, parents) for node, path in zip(nodes, paths, strict=True)]


def _above(path: str) -> list[str]:
    """The paths over a path, the root's among them; one of 40 parts is deep."""
    parts = path.split(".")
    return [".".join(parts[:length]) for length in range(min(len(parts), 40))]


def _place(node: NodeProto, path: str | None, parents: set[str]) -> str:
    if path is not None:
        return f"{path}.{_word(node.op_type)}".lstrip(".") if path in parents or not path else path
    if node.name:
        return node.name.replace("/", ".").strip(".")
    return f"{_word(node.op_type)}_{node.output[0]}"


def _path(node: NodeProto) -> str | None:
    """Of the module that made the node, where torch wrote it: every part repeats those above it."""
    *parts, last = [part for part in node.name.split("/") if part] or [""]
    if not node.name.startswith("/") or not _is_counted(node, last):
        return None
    kept: list[str] = []
    for part in parts:
        if kept and part.startswith(f"{kept[-1]}."):
            kept.pop()
        kept.append(part)
    return ".".join(kept)


def _is_counted(node: NodeProto, name: str) -> bool:
    """Is it only the op, or `Conv_12`?"""
    return bool(re.fullmatch(rf"{re.escape(node.op_type)}(_\d+)?", name))


def _word(kind: str) -> str:
    """`global_average_pool` of `GlobalAveragePool`."""
    return _WORDS.get(kind) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower()
