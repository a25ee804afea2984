"""Standing still, and then looking at what came meanwhile before anything is called too late.

    woke ─▶ one tick that ends nothing ─▶ ticks as ever
      ^___ again, but never twice in a row: who stands still all the time still keeps deadlines

Invariant: of two ticks in a row at least one may end something.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Waking:
    """Whether the next tick has to look first."""

    woke: bool = False
    looked: bool = False

    def wake(self) -> None:
        """This node stood still: answers may lie in its inbox."""
        self.woke = True

    def looks_first(self) -> bool:
        """Asked once a tick: True where this one may end nothing."""
        self.looked, self.woke = self.woke and not self.looked, False
        return self.looked
