"""A fleet on one machine: namespaces and quotas for nodes, thin and slow links between them."""
