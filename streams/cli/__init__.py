"""The command ``headrace``: one file a command."""
