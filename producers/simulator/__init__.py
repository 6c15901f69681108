"""Synthetic shoppers with known true probabilities, in a closed loop with the recommendations."""
