"""Validation: whether predictions of failures deserve trust."""
