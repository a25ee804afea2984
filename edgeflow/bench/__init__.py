"""Measurements: each prints how it was made, and compares within one run."""
