#!/bin/sh
# sh dump.sh DIRECTORY: writes what containerd or CRI-O says of itself into a new directory, which is
# best named after this host, as the cluster names it. Run it as root.
# Reads: version, settings, and the lists of images and containers, with an inspection of each
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
  ids=$(crictl ps -a -q) && echo "$ids" | xargs -r crictl inspect -o json
}
ask version.txt crictl version
ask info.json crictl info -o json
ask images.json crictl images -o json
ask ps.json crictl ps -a -o json
ask inspect.json inspect
exit "$failed"
