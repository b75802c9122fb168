"""Deployments: exports of what delivers software to production."""
