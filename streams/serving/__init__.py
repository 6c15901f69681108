"""HTTP door: events in, slates out, for shops that do not speak Kafka."""
