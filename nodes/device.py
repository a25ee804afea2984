"""A device node, where frames enter: `python -I -m edgeflow.nodes.device --name cam-1`."""

from edgeflow.cli.node import program

if __name__ == "__main__":
    program("device")
