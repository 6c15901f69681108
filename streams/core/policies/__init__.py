"""Policies: choice of a slate from the shortlist, with exact probabilities, and the reward models behind it."""
