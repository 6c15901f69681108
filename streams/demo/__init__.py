"""The closed loop on one machine: broker, worker and synthetic shoppers, with a live view."""
