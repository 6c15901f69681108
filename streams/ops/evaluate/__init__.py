"""Measuring the core on files: tables and clickstreams in, a report out. No Kafka."""
