"""The Items fold: statistics and neighbours of each item."""
