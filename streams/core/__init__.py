"""Core: the computations of Headrace, as pure functions: no clock, no input or output, no framework."""
