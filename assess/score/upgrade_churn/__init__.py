"""Upgrade churn: events, failures and hours a year."""
