"""Tiles: rectangles of maps, what each needs to be computed, and graphs that compute just them."""
