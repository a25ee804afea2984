"""A fleet of emulated machines on one: namespaces for nodes, shaped and delayed links between them."""
