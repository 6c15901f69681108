"""Replay of recorded files as events."""
