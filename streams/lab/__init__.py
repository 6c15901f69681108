"""The laboratory: the core's policies in worlds whose best choice is known, without Kafka."""
