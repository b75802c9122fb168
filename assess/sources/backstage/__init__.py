"""Backstage: the catalog of services and their owners."""
