"""Clickstream producers: synthetic shoppers, and replays of recorded files."""
