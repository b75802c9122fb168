"""Joins what the sources saw: names, hosts, replicas, findings, earlier snapshots."""
