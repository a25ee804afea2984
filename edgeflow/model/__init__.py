"""A model as data: a graph of ops out of one versioned set, and whether it may be trusted.

manifest ─▶ check ─▶ graph ◀─ ops (contracts) ◀─ shapes, attributes
"""
