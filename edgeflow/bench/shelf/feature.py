"""The convolutional part of a network of pytorchcv, with seeded random weights, taking floats."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from edgeflow import modelfile
from edgeflow.exporter import export
from edgeflow.exporter.source import Card
from edgeflow.exporter.zoo import pytorchcv

SIZE = 224


def feature_part(name: str) -> nn.Module:
    """All of a network up to its last map, which is not averaged over."""
    whole = pytorchcv(name, size=SIZE, uint8=False)
    features = whole.features
    assert isinstance(features, nn.Module)
    blocks = [block for title, block in features.named_children() if title != "final_pool"]
    part = nn.Sequential(*blocks).eval()
    part.card = Card({"x": torch.zeros(1, 3, SIZE, SIZE)})  # type: ignore[assignment]
    return part


def export_features(name: str, folder: Path) -> Path:
    """Its model file."""
    sys.stderr.write(f"exporting the feature part of {name} …\n")
    path = folder / f"{name}.safetensors"
    modelfile.save(export(feature_part(name), name=f"{name}-features"), path)
    return path
