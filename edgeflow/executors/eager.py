"""A torch module as it is, in the shape of a segment: what exported graphs are measured against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from edgeflow.graph import Array


class EagerModule:
    """Runs a module on arrays. Outputs are called `outputs`, in the order the module gives them."""

    def __init__(
        self,
        module: torch.nn.Module,
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        threads: int,
    ) -> None:
        self.module = module.eval()
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.threads = threads
        self.engine = f"torch {torch.__version__.split('+')[0]} module, {threads} threads"

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The module's outputs by name."""
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        with torch.inference_mode():
            made = self.module(*(torch.from_numpy(inputs[name]) for name in self.inputs))
        tensors = made if isinstance(made, tuple | list) else (made,)
        return {
            name: tensor.contiguous().numpy()
            for name, tensor in zip(self.outputs, tensors, strict=True)
        }
