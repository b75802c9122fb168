"""A snapshot directory as a source."""
