"""Metrics, health, alerts, logs and progress: everything that shows an operator the condition of a worker."""
