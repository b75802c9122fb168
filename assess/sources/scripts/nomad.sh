#!/bin/sh
# sh dump.sh DIRECTORY: writes what one Nomad cluster runs into a new directory, which is best named
# after the cluster. NOMAD_ADDR and NOMAD_TOKEN, or its file, are those of the nomad command.
# Reads: jobs, allocations and nodes. Never reads: variables, logs, files of tasks; it runs nothing
# and changes nothing. The files hold environments, passwords too: they are for your eyes alone.
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
# shellcheck disable=SC2016 # the shell below fills them in
inspect='nomad job inspect -namespace="$1" -json "$2"'
each='{{range .}}{{println .JobSummary.Namespace .ID}}{{end}}'
jobs() {
  list=$(nomad job inspect -namespace='*' -t "$each") &&
    echo "$list" | xargs -r -n 2 sh -c "$inspect" job
}
nodes() {
  list=$(nomad node status -t '{{range .}}{{println .ID}}{{end}}') &&
    echo "$list" | xargs -r -n 1 nomad node status -json
}
ask job-list.json nomad job inspect -namespace='*' -json
ask jobs.json jobs
ask allocations.json nomad alloc status -namespace='*' -json
ask node-list.json nomad node status -json
ask nodes.json nodes
exit "$failed"
