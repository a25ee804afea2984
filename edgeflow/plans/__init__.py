"""Plans as every node keeps them: wanted, held, prepared, with the models and bytes they need."""
