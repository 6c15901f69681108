"""Commands of ``headrace`` that have a file of their own; ``streams.ops.cli`` registers each with one line."""
