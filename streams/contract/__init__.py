"""What crosses a topic, and what the rooms say to each other. No input or output here."""
