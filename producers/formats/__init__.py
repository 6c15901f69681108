"""Formats of recorded files and foreign topics: a TOML mapping each, and the pure code that applies it."""
