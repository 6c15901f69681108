"""Measurements of the whole, by name: ``python -m benchmarks``."""
