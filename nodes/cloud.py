"""A cloud node: `python -I -m edgeflow.nodes.cloud --name cloud-1`."""

from edgeflow.cli.node import program

if __name__ == "__main__":
    program("cloud")
