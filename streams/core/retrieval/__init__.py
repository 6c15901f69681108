"""Candidate generation: the catalogue of items, and the shortlist of items that could be shown."""
