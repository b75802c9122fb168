"""ECS clusters, services and tasks."""
