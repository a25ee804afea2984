"""What a user says of a model's inputs, in one word each: `image=uint8:1x224x224x3`."""

from __future__ import annotations

import re

from edgeflow.errors import UsageError
from edgeflow.model.graph import Contract
from edgeflow.model.ops import DTYPES

_INPUT = re.compile(
    r"(?P<name>[A-Za-z0-9_][\w.]*)=(?P<dtype>\w+):(?P<shape>[1-9]\d{0,5}(?:x[1-9]\d{0,5}){0,7})",
    re.ASCII,
)


def parse_contract(text: str) -> Contract:
    """`image=uint8:1x224x224x3` as a contract; UsageError where it is not so."""
    fits = _INPUT.fullmatch(text)
    if fits is None or fits["dtype"] not in DTYPES:
        raise UsageError(f"{text!r} is no input: write name=dtype:sizes, image=uint8:1x3x224x224")
    shape = tuple(int(dim) for dim in fits["shape"].split("x"))
    return Contract(fits["name"], fits["dtype"], shape)
