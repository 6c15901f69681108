"""Brokers on this machine, embedded or Apache Kafka from its jars, and supervised child processes."""
