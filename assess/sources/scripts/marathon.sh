#!/bin/sh
# sh dump.sh DIRECTORY MARATHON MESOS: writes what they run into a new directory, which is best named
# after the cluster. MARATHON and MESOS are addresses without a password; curl reads ~/.curlrc.
# Reads, with GET alone: apps and deployments of Marathon, agents and tasks of Mesos. Never reads:
# secrets, sandboxes, logs. It changes nothing. The files hold environments, passwords too:
# they are for your eyes alone.
: "${3:?name the addresses of Marathon and of the Mesos master}"
set -eu
umask 077
mkdir "$1"
cd "$1"
failed=0
ask() { # FILE COMMAND...: FILE becomes what the command prints; what fails is said, and not the end
  file=$1
  shift
  if "$@" < /dev/null > "$file"; then
    [ -s "$file" ] || echo '[]' > "$file" # there is none of it
    return
  fi
  echo "not whole: $file, of: $*" >&2
  [ -s "$file" ] || rm "$file"
  failed=1
}
get() {
  curl --fail --silent --show-error --globoff "$1"
}
embed='embed=apps.tasks&embed=apps.counts&embed=apps.lastTaskFailure&embed=apps.deployments'
ask apps.json get "$2/v2/apps?$embed"
ask deployments.json get "$2/v2/deployments"
ask slaves.json get "$3/master/slaves"
n=0
while
  ask "tasks-$n.json" get "$3/master/tasks?limit=5000&offset=$n"
  grep -qs '"id"' "tasks-$n.json" # an empty page is the last
do
  n=$((n + 5000))
done
exit "$failed"
