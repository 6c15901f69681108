"""Files in known formats, as events."""
