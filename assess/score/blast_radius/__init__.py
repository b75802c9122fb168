"""Blast radius: share of criticality lost when an element fails."""
