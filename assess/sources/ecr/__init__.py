"""ECR images and lifecycle policies."""
