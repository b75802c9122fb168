"""Marathon and Mesos: apps, tasks and agents."""
