"""Docker Swarm: its nodes, services and tasks."""
