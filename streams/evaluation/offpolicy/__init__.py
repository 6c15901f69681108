"""Off-policy evaluation: estimates of a frozen policy's reward from logged decisions of other policies."""
