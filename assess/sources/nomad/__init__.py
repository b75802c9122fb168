"""Nomad: jobs, allocations and nodes."""
