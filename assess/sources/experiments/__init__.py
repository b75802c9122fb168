"""Failures made on purpose: Chaos Toolkit, LitmusChaos, game days."""
