"""Edges: services that the texts of a service name, and the kind of each dependency."""
