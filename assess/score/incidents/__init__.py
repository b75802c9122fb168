"""Exposure, recovery and rates of incidents."""
