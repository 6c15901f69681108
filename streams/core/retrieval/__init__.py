"""Candidate generation: the item table, and the shortlist of items that could be shown."""
