"""What Headrace computes, pure: no clock, no input or output, no framework."""
