"""Candidates: which items could be shown, cut to a shortlist."""
