"""What the leader does for each deployment: watch, plan again, prepare, commit, and tell why.

news ─▶ watch ─▶ replan ─▶ lead        capacity, memory: what the others leave
                   └── cover, covering, standby: what stands in, and what is likely next
"""
