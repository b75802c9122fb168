#!/bin/sh
# sh dump.sh DIRECTORY [OPTION...]: writes facts of all hosts of the inventory into a new directory.
# Options are those of ansible, such as -i INVENTORY, -b (to see all units) and -K (asks a password).
# Reads: what the modules setup, service_facts and package_facts say. Never reads: environments,
# facts of your own, boot options, files. It changes nothing on the hosts.
set -eu
umask 077
mkdir "$1"
directory=$1
shift
failed=0
ask() { # NAME MODULE OPTION...: a file for each host; what fails is said, and not the end
  name=$1
  shift
  ansible all --tree "$directory/$name" -m "$@" > "$directory/.$name" && return
  echo "not whole: $directory/$name, see $directory/.$name" >&2
  failed=1
}
ask setup setup -a 'gather_subset=all,!env,!local,!cmdline,!facter,!ohai' "$@"
ask services service_facts "$@"
ask packages package_facts "$@"
exit "$failed"
