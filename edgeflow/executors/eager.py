"""A torch module as it is, in the shape of a segment: what exported graphs are measured against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from edgeflow.model.graph import Array
from edgeflow.picture import Recipe, decode


class EagerModule:
    """Runs a module on arrays. Outputs are called `outputs`, in the order the module gives them.

    With a recipe, its input comes as a file's bytes, as that of a graph that decodes.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        threads: int,
        recipe: Recipe | None = None,
    ) -> None:
        self.module = module.eval()
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.threads, self.recipe = threads, recipe
        self.engine = f"torch {torch.__version__.split('+')[0]} module, {threads} threads"

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The module's outputs by name."""
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        if self.recipe is not None:
            name = self.recipe.input
            inputs = {**inputs, name: decode(inputs[name], self.recipe)}
        with torch.inference_mode():
            made = self.module(*(torch.from_numpy(inputs[name]) for name in self.inputs))
        tensors = made if isinstance(made, tuple | list) else (made,)
        return {
            name: tensor.contiguous().numpy()
            for name, tensor in zip(self.outputs, tensors, strict=True)
        }
