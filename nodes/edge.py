"""An edge node; one of them leads: `python -I -m edgeflow.nodes.edge --name edge-1`."""

from edgeflow.cli.node import program

if __name__ == "__main__":
    program("edge")
