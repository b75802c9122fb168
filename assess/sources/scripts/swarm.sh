#!/bin/sh
# sh dump.sh DIRECTORY: writes what one Docker Swarm runs into a new directory. Run it on a manager.
# Reads: inspections of nodes, services and tasks. Never reads: secrets, configs, join tokens, logs.
# It changes nothing. The files hold environments, passwords too: they are for your eyes alone.
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
nodes() {
  ids=$(docker node ls -q) && echo "$ids" | xargs -r docker node inspect
}
services() {
  ids=$(docker service ls -q) && echo "$ids" | xargs -r docker service inspect
}
tasks() {
  ids=$(docker service ls -q) && ids=$(echo "$ids" | xargs -r docker service ps -q --no-trunc) &&
    echo "$ids" | xargs -r docker inspect --type task
}
for list in nodes services tasks; do
  ask "$list.json" "$list"
done
exit "$failed"
