"""A shelf of small boxes that compute one frame together: what `scripts/bench tiles` is made of."""
