"""The engine's job on other engines: count and sum prices by user, one JSON out for each event.

Each is a program that reads HEADRACE_ENGINE__DATA_DIR and KAFKA_BOOTSTRAP_SERVERS, and ends at SIGTERM.
"""
