"""The policy: weights, gates, checks and their rules."""
