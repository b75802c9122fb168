"""Plain hosts: what Ansible and osquery know of them."""
