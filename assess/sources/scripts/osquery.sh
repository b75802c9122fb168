#!/bin/sh
# sh dump.sh DIRECTORY: writes tables of osquery into a new directory, named after this host. Run it
# as root, or Docker's tables are empty.
# Reads: the tables and columns below, and the commands that started the engine and the kubelet.
# Never reads: other commands, environments, files, users.
# It changes nothing. Labels of containers may hold passwords: the files are for your eyes alone.
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
while read -r table columns; do
  ask "$table.json" osqueryi --json "select $columns from $table"
done << END
os_version *
kernel_info version
system_info hostname,cpu_logical_cores,physical_memory
systemd_units id,active_state,sub_state,user
deb_packages name,version
rpm_packages name,version
mounts path,type,flags,blocks,blocks_free,blocks_size
ec2_instance_metadata instance_id,instance_type,architecture,region,availability_zone,ami_id
docker_version *
docker_info name,server_version,storage_driver,logging_driver,cgroup_driver,containers,images,kernel_version,cpus,memory
docker_containers id,name,image,image_id,created,state,status,privileged,readonly_rootfs,started_at,finished_at
docker_container_labels *
docker_container_mounts *
docker_container_ports *
docker_images *
END
# of the commands of all processes only those of the engine and the kubelet
ask daemons.json osqueryi --json \
  "select cmdline from processes where name in ('dockerd', 'kubelet')"
exit "$failed"
