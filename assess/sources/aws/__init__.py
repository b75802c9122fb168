"""Amazon Web Services: machines, tasks, images, inventories."""
