"""Contract: records of the topics, settings, errors, and interfaces between the packages. No input or output here."""
