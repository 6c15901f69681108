"""Stores rows of the present schemas, where none are stored: ``python -m tests.layouts`` after a schema was raised."""

from tests.layouts.stored import samples, write

for name, rows in samples().items():
    write(name, rows)
