"""Faults in a lab while frames come in: what is broken when, and what a ledger says of it."""
