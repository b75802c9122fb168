"""The scores: what is measured, and how."""
