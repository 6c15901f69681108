"""Policies: which of the shortlist to show, with what probability, and what feedback teaches them."""
