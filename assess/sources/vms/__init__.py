"""Virtual machines, container hosts or not, as the tools that run them list them."""
