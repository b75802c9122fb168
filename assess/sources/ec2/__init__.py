"""EC2 instances and auto-scaling groups."""
