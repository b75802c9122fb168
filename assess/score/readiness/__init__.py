"""Readiness, 0-100, and the gates before it."""
