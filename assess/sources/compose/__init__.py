"""Compose files: what projects declare."""
