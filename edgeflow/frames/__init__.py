"""Frames under way.

at the source   openframe · inflight · outcome · pace, usual · explore, doubts · tally
at every node   stage (its segment) · relay (submitting from elsewhere) · bundles · cancelled
"""
