"""One file a fold: its Faust agent and its table."""
