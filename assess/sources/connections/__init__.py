"""Connections: who was seen talking to whom, by sockets of hosts and by flow logs."""
