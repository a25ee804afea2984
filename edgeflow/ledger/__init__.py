"""What became of every frame: records, by frame on a sheet, and judged into figures."""
