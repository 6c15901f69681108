"""Headrace: predicts what each shopper will do next and decides what to show them, on Kafka."""
