"""Rows, or columns: what an op reads along one axis to make [first, last) of its output.

    output            [first ....... last)
                     /                    \\
    input     [lo .................... hi)       need: what of the input it takes
    before >--|                        |--< after      piece: and how the op then looks

An axis knows the length of the whole input. Windows of convolutions and pools overhang the ends of
the map; padding stands only there, never at the border of a tile. An op that makes a little more
than is wanted says so: `skip` rows in front, and whatever follows the wanted ones.

Invariant: [lo, hi) lies in the map and is never empty, also where a window lies wholly in padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Piece(NamedTuple):
    """How an op makes a part of its output along one axis: from [lo, hi) of its input."""

    lo: int
    hi: int
    before: int = 0
    """Rows of padding in front of the first."""
    after: int = 0
    """Rows of padding behind the last."""
    skip: int = 0
    """Rows that the op makes in front of the wanted ones."""


class Axis(Protocol):
    """The rule of one op along one axis."""

    def need(self, first: int, last: int) -> tuple[int, int]:
        """[lo, hi) of the input for [first, last) of the output."""

    def piece(self, first: int, last: int) -> Piece:
        """The same, and how the op looks that makes it."""


class Same:
    """A row out of the same row."""

    def need(self, first: int, last: int) -> tuple[int, int]:
        return first, last

    def piece(self, first: int, last: int) -> Piece:
        return Piece(first, last)


@dataclass(frozen=True, slots=True)
class Window:
    """Row r out of the `span` rows from r * stride - padding on: convolution, pad, slice."""

    length: int
    span: int
    stride: int
    padding: int
    """In front; negative where the first rows are left out."""

    def need(self, first: int, last: int) -> tuple[int, int]:
        lo = first * self.stride - self.padding
        hi = (last - 1) * self.stride - self.padding + self.span
        if lo < 0:
            lo = 0
        if hi > self.length:
            hi = self.length
        if lo < hi:
            return lo, hi
        return (0, 1) if hi <= 0 else (self.length - 1, self.length)

    def piece(self, first: int, last: int) -> Piece:
        lo, hi = self.need(first, last)
        start = first * self.stride - self.padding
        end = (last - 1) * self.stride - self.padding + self.span
        skip = max(0, -(-(start - lo) // self.stride))
        return Piece(lo, hi, lo - start + skip * self.stride, max(0, end - hi), skip)


class Pool(Window):
    """A window that keeps its own padding wherever it has any.

    An op has one padding for both ends, and the divisor of an average hangs on where the padding
    ends. So where a window overhangs, the input starts at a row on which the op's own windows line
    up again, and the first ones, which miss rows that are there, are skipped.
    """

    __slots__ = ()

    def need(self, first: int, last: int) -> tuple[int, int]:
        lo = first * self.stride - self.padding
        hi = (last - 1) * self.stride - self.padding + self.span
        if lo >= 0 and hi <= self.length:
            return lo, hi
        return self._aligned(first) * self.stride, min(hi, self.length)

    def _aligned(self, first: int) -> int:
        """A window from whose own padding on all that `first` reads is there."""
        return max(0, first + -self.padding // self.stride)

    def piece(self, first: int, last: int) -> Piece:
        lo, hi = self.need(first, last)
        if lo == first * self.stride - self.padding and hi - lo == (
            (last - first - 1) * self.stride + self.span
        ):
            return Piece(lo, hi)
        return Piece(lo, hi, self.padding, self.padding, first - self._aligned(first))


@dataclass(frozen=True, slots=True)
class Transposed:
    """Row r of the input goes to the `span` rows from r * stride - padding on.

    Rows that none goes to are still wanted: they hold the bias.
    """

    length: int
    span: int
    stride: int
    padding: int

    def need(self, first: int, last: int) -> tuple[int, int]:
        start = first + self.padding
        lo = min(-((self.span - 1 - start) // self.stride), start // self.stride)
        hi = (last - 1 + self.padding) // self.stride + 1
        return max(0, min(lo, self.length - 1)), min(hi, self.length)

    def piece(self, first: int, last: int) -> Piece:
        lo, hi = self.need(first, last)
        end = (hi - 1) * self.stride - self.padding + self.span
        skip = first - (lo * self.stride - self.padding)
        return Piece(lo, hi, after=max(0, last - end), skip=skip)


@dataclass(frozen=True, slots=True)
class Zoom:
    """Each row becomes `factor` rows: nearest upsampling, pixel shuffle."""

    factor: int

    def need(self, first: int, last: int) -> tuple[int, int]:
        return first // self.factor, (last - 1) // self.factor + 1

    def piece(self, first: int, last: int) -> Piece:
        lo, hi = self.need(first, last)
        return Piece(lo, hi, skip=first - lo * self.factor)


@dataclass(frozen=True, slots=True)
class Blend:
    """Bilinear: row r between the two rows around (r + 1/2) / factor - 1/2."""

    length: int
    factor: int

    def _below(self, row: int) -> int:
        return max(0, (2 * row + 1 - self.factor) // (2 * self.factor))

    def need(self, first: int, last: int) -> tuple[int, int]:
        return self._below(first), min(self.length, self._below(last - 1) + 2)

    def piece(self, first: int, last: int) -> Piece:
        lo, hi = self.need(first, last)
        return Piece(lo, hi, skip=first - lo * self.factor)
