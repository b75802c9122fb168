#!/bin/sh
# sh dump.sh DIRECTORY: writes what one Docker engine says of itself into a new directory.
# Reads: version, info, and the lists of containers, images, volumes and networks, with an inspection
# of each container and network. Never reads: logs, files in containers or volumes. It starts and changes nothing.
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
  ids=$(docker ps -aq) && echo "$ids" | xargs -r docker inspect --type container
}
networks() {
  ids=$(docker network ls -q) && echo "$ids" | xargs -r docker network inspect
}
images() {
  ids=$(docker images -q --no-trunc) && echo "$ids" | sort -u | xargs -r docker image inspect --format "$image"
}
json='{{json .}}'
image='{"Id":{{json .Id}},"RepoTags":{{json .RepoTags}},"RepoDigests":{{json .RepoDigests}}'
image="$image"',"Created":{{json .Created}},"Size":{{json .Size}},"Architecture":{{json .Architecture}}'
image="$image"'{{with .Config}},"Labels":{{json .Labels}}{{end}}}'
ask version.json docker version --format "$json"
ask info.json docker info --format "$json"
ask ps.json docker ps -a --no-trunc --format "$json"
ask images.json images
ask volumes.json docker volume ls --format "$json"
ask networks.json networks
ask inspect.json inspect
# What a clean-up would free; it walks the disk, which may take minutes:
# ask system-df.json docker system df -v --format "$json"
exit "$failed"
