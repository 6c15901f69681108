"""Online models, as arrays: learning row by row, scoring by the batch, and how well they did."""
