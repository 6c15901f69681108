"""Experiments: who is assigned to which policy, and the lift over the controls."""
