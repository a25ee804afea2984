"""The command line: one file a group of commands, each with `register(app)`; `main` joins them."""
