"""How many hands of the core hold each bundle of tensors.

Invariant: the shell hears Release once for each bundle, after the last hand let go.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeflow.events import Bundle, Effect, Release


@dataclass(slots=True)
class Bundles:
    """Counts of holders."""

    holders: dict[Bundle, int] = field(default_factory=dict)

    def hold(self, bundle: Bundle) -> Bundle:
        """One more hand."""
        self.holders[bundle] = self.holders.get(bundle, 0) + 1
        return bundle

    def drop(self, bundle: Bundle) -> list[Effect]:
        """One hand less; Release after the last."""
        left = self.holders[bundle] - 1
        if left:
            self.holders[bundle] = left
            return []
        del self.holders[bundle]
        return [Release(bundle)]
