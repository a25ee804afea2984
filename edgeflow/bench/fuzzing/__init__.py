"""Malformed messages, files and settings out of the grammar of right ones, and a fleet to try."""
