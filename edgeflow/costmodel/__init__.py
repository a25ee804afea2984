"""What a placement costs: one truth of planner, simulator and runtime.

workload ─▶ cost ◀─ crew, exchange (at the same time) ◀─ sharing (with other deployments)
             └──▶ uncertainty (how far off), tileviews (tile maps for people)
"""
