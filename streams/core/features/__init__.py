"""A shopper's recent past as numbers: windows, session, affinities, and the vector that models read."""
