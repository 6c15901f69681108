"""Running it: command line, embedded broker, live view."""
