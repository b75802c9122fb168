"""Kubernetes clusters: their API, or dumps of its lists."""
