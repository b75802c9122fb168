"""Sources: one file per system, and the run over all of them."""
