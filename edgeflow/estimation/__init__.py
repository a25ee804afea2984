"""What measuring teaches a node: links, layers, load, heat; and when that is worth telling.

receipts ─▶ link ◀─ steps ─▶ ratio ◀─ timings        busyness, heat, lag: of the node itself
             └─▶ neighbour, neighbours (who is probed) ─▶ alert (what is told at once)
"""
