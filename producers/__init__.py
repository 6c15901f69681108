"""Clickstream producers: synthetic shoppers, and replays of files in known formats."""
