"""Laboratory: the policies of production in simulated worlds with a known optimum, without Kafka."""
