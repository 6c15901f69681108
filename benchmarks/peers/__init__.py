"""Other engines: the engine's job (count and sum prices by user, one JSON out an event), and the whole pipeline.

Each is a program that reads HEADRACE_ENGINE__DATA_DIR and KAFKA_BOOTSTRAP_SERVERS, and ends at SIGTERM.
"""
