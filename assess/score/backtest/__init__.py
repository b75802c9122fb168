"""Back-test: predictions against what then happened."""
