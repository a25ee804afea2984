"""What measuring teaches a node: links, layers, load, heat; and when that is worth telling."""
