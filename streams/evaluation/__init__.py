"""Evaluation of the core on files and in simulated worlds, without Kafka."""
