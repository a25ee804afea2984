"""Where a module comes from: `package.module:factory` or `file.py:factory`, called with arguments.

A factory is the user's own code; it runs here as any program of theirs would. It may hang a `Card`
to the module, as the attribute `card`, so that `edgeflow export` need not be told what it knows.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from edgeflow.draft.inputs import parse_contract
from edgeflow.errors import EdgeflowError, ModelError, UsageError


@dataclass(frozen=True, slots=True)
class Card:
    """What a factory knows of its module."""

    inputs: Mapping[str, torch.Tensor]
    """Example inputs by name, in the order of `forward`."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()


def card_of(module: torch.nn.Module) -> Card | None:
    """The module's card, where its factory gave it one."""
    card = getattr(module, "card", None)
    return card if isinstance(card, Card) else None


def load_source(source: str, args: Mapping[str, Any] | None = None) -> torch.nn.Module:
    """The module that `source` makes; UsageError where there is none, with the cure."""
    place, colon, name = source.rpartition(":")
    if not colon or not place or not name:
        raise UsageError(f"{source!r} is no source: give package.module:factory or file.py:factory")
    factory = getattr(_module(place), name, None)
    if not callable(factory):
        raise UsageError(f"{place} has no factory {name!r}")
    try:
        made = factory(**dict(args or {}))
    except EdgeflowError:
        raise
    except TypeError as error:
        raise UsageError(f"{source} does not take these arguments: {error}") from error
    except Exception as error:
        raise ModelError(f"{source} failed: {type(error).__name__}: {error}") from error
    if not isinstance(made, torch.nn.Module):
        raise ModelError(f"{source} made a {type(made).__name__}, not a torch.nn.Module")
    return made


def parse_input(text: str) -> tuple[str, torch.Tensor]:
    """`image=uint8:1x224x224x3` as a name and a tensor of zeros; UsageError where it is not so."""
    contract = parse_contract(text)
    dtype = getattr(torch, contract.dtype)
    return contract.name, torch.zeros([int(dim) for dim in contract.shape], dtype=dtype)


def _module(place: str) -> ModuleType:
    if place.endswith(".py"):
        return _file(Path(place))
    try:
        return importlib.import_module(place)
    except ImportError as error:
        raise UsageError(f"cannot import {place}: {error}; is it installed?") from error


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"edgeflow_source_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{path} does not load: {type(error).__name__}: {error}") from error
    return module
