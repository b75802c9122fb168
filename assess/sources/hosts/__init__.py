"""Plain hosts, from Ansible and osquery."""
