"""The node programs, one a tier: `python -I -m edgeflow.nodes.edge --name edge-1`."""
