"""Incidents: exports and APIs of the tools that page people."""
