"""Off-policy evaluation: what a frozen policy would have earned on decisions that others made."""
