"""The demo: a real network on five real node processes, its leader killed, and what a split buys.

    pictures ─▶ story ─▶ live frames, the leader's death ─▶ contest ─▶ report
                  │
                fleet: broker and node processes of this machine, all stopped at the end

Invariant: every figure is measured in this run; what is emulated says so.
"""
