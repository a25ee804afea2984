"""Partitioning algorithms side by side on real networks: the parts of `scripts/bench planners`.

scene ─▶ compare ─▶ rows ─▶ report (Markdown, CSV) · picture (SVG)        local: re-evaluation
"""
