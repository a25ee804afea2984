"""`python -m edgeflow` is the `edgeflow` command."""

from edgeflow.cli.main import main

main()
