"""Edges: which services the texts of a service name, and in what way it needs them."""
