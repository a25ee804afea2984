"""From a torch module to its ATen graph: no code of the module left, in-place ops made pure."""

from __future__ import annotations

import contextlib
import inspect
import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from unittest import mock

import torch
from torch.export import ExportedProgram, default_decompositions

from edgeflow.errors import ModelError

_LRN = "edgeflow::local_response_norm"


@torch.library.custom_op(_LRN, mutates_args=())
def local_response_norm(
    x: torch.Tensor, size: int, alpha: float, beta: float, k: float
) -> torch.Tensor:
    """Kept whole: torch itself spells it as nine ops, with a detour over five dimensions."""
    square = torch.nn.functional.pad(x * x, (0, 0, 0, 0, size // 2, (size - 1) // 2))
    total = torch.nn.functional.avg_pool3d(square.unsqueeze(1), (size, 1, 1), stride=1).squeeze(1)
    return x / (total * alpha + k) ** beta


@local_response_norm.register_fake
def _(x: torch.Tensor, size: int, alpha: float, beta: float, k: float) -> torch.Tensor:
    return torch.empty_like(x)


LOCAL_RESPONSE_NORM: Any = torch.ops.edgeflow.local_response_norm.default


def _whole_lrn(
    input: torch.Tensor,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
) -> torch.Tensor:
    out: torch.Tensor = local_response_norm(input, size, float(alpha), float(beta), float(k))
    return out


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """torch.export warns of much that does not concern a user of edgeflow."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def trace(
    module: torch.nn.Module, inputs: Sequence[torch.Tensor], keep: Iterable[Any]
) -> ExportedProgram:
    """The module in evaluation mode as pure ATen ops; those in `keep` stay whole.

    ModelError where torch cannot trace it.
    """
    table = default_decompositions()
    for target in keep:
        table.pop(target, None)  # type: ignore[no-untyped-call]
    modes = {part: part.training for part in module.modules()}
    patched = mock.patch.object(torch.nn.functional, "local_response_norm", _whole_lrn)
    try:
        with _quiet(), torch.no_grad(), patched:
            program = torch.export.export(module.eval(), tuple(inputs), strict=False)
            pure: ExportedProgram = program.run_decompositions(table)
            return pure
    except Exception as error:
        text = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"torch.export cannot trace {type(module).__name__}: {text[0]}; "
            "its forward must be free of branches that depend on the data"
        ) from error
    finally:
        for part, training in modes.items():
            part.training = training


def parameter_names(module: torch.nn.Module, count: int) -> list[str]:
    """What `forward` calls its first `count` tensors."""
    parameters = inspect.signature(module.forward).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [parameter.name for parameter in parameters if parameter.kind in kinds]
    return (names + [f"input{index}" for index in range(count)])[:count]
