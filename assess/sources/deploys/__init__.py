"""Deployments: exports of delivery tools."""
