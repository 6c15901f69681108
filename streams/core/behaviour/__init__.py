"""The Behaviour fold and its parts: state, predictions, decisions, attribution and labels of one shopper."""
