"""What an op's attribute may be, by the names that the op set uses.

    int float number bool str      ints floats: any number of them      ints2 ints4 floats2: so many

Invariant: what fits is a plain value of exactly that type, finite, and within 62 bits.
"""

from __future__ import annotations

import math


def _is_whole(value: object) -> bool:
    return type(value) is int and -(1 << 62) < value < 1 << 62


def _is_real(value: object) -> bool:
    return type(value) is float and math.isfinite(value)


def fits(value: object, kind: str) -> bool:
    """Is `value` of the schema type `kind`?"""
    match kind:
        case "int":
            return _is_whole(value)
        case "float":
            return _is_real(value)
        case "number":
            return _is_whole(value) or _is_real(value)
        case "bool":
            return type(value) is bool
        case "str":
            return type(value) is str
    count = kind.lstrip("intsfloa")
    single = _is_whole if kind.startswith("ints") else _is_real
    if not isinstance(value, tuple) or not all(map(single, value)):
        return False
    return not count or len(value) == int(count)
