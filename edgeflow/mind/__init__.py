"""The whole mind of one node: events in, effects out, and nothing else touched.

node ─▶ intake, control, upkeep, duties, refuge ─▶ parts (the decisions of the rooms below)
"""
