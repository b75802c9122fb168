"""Host facts of Systems Manager."""
