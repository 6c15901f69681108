"""Evaluation of retrieval: next-item prediction on files of sessions."""
