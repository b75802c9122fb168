"""Answers of people, and findings of other tools."""
