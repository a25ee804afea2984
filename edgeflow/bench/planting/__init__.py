"""Bugs planted in the core, one at a time: what the simulator must catch."""
