"""Tiles over several nodes of a tier: D3's vertical separation, decided together with the cut.

    strips ─▶ stages ─┐                     what rows of each map take, as arrays
    sharings ─────────┴▶ search ─▶ polish   who gets how many rows; where tiled runs begin and end
                            together        the better of this and the plan without tiles
    bound · brute                           what no such plan goes below; every one, on small maps
    byhand                                  layouts that somebody wrote

Invariant: a layout found here is priced by `CostModel.evaluate`, as any other.
"""
