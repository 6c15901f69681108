"""Online models: learning row by row, scoring a batch from exported arrays, quality, mixture."""
