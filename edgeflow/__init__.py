"""One neural network over all the machines at hand."""
