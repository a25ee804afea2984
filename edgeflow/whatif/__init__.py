"""Asking the planner about a cluster on paper (`scene`)."""
