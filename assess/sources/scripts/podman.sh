#!/bin/sh
# sh dump.sh DIRECTORY: writes what Podman says of itself and of one user's containers into a new
# directory. Run it as each user who has containers, and as root for those of root.
# Reads: version, info, and the lists of containers, images and volumes, with an inspection of each
# container. Never reads: logs, files in containers or volumes. It starts and changes nothing.
# inspect.json holds environments, passwords too: all files are for your eyes alone.
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
inspect() {
  ids=$(podman ps -aq) && echo "$ids" | xargs -r podman inspect --type container
}
ask version.json podman version --format json
ask info.json podman info --format json
ask images.json podman images --all --format json
ask ps.json podman ps --all --format json
ask volumes.json podman volume ls --format json
ask inspect.json inspect
# Quadlets belong beside them: copy the files of /etc/containers/systemd and of
# ~/.config/containers/systemd, and the manifests that .kube files name.
exit "$failed"
