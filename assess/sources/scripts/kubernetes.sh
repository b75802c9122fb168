#!/bin/sh
# sh dump.sh DIRECTORY: writes what the current context of kubectl runs into a new directory, which
# is best named after the cluster.
# Reads: the lists named below, of all namespaces, and the settings that kubeadm keeps, its own and
# those for kubelets.
# Never reads: secrets, other configmaps, logs; it runs nothing in a pod and changes nothing. A list
# that is denied is left out, and kubectl says so.
# The file holds environments, passwords too: it is for your eyes alone.
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
lists=nodes,pods,deployments,statefulsets,daemonsets,replicasets,jobs,cronjobs,services,ingresses
lists=$lists,persistentvolumeclaims,poddisruptionbudgets,horizontalpodautoscalers,networkpolicies
lists=$lists,validatingwebhookconfigurations,mutatingwebhookconfigurations
ask kubernetes.json kubectl get "$lists" --all-namespaces -o json
# objects of which only the version counts; not every cluster knows all
lists=customresourcedefinitions,apiservices,ingressclasses,clusterroles,clusterrolebindings,roles
lists=$lists,rolebindings,priorityclasses,storageclasses,runtimeclasses,podsecuritypolicies
lists=$lists,flowschemas,prioritylevelconfigurations,csidrivers,volumeattributesclasses
lists=$lists,validatingadmissionpolicies,validatingadmissionpolicybindings,deviceclasses
lists=$lists,resourceclaims,resourceclaimtemplates
ask served.txt kubectl api-resources --verbs=list -o name
lists=$(echo "$lists" | tr , '\n' | while read -r list; do
  grep -sE "^$list\.(policy|.*\.k8s\.io)\$" served.txt || :
done | tr '\n' ,)
[ -z "$lists" ] || ask objects.json kubectl get "${lists%,}" --all-namespaces -o json
rm -f served.txt
# those of kubelets up to 1.23 have the version in their names
maps='kubelet-config kubelet-config-1.23 kubelet-config-1.22 kubelet-config-1.21 kubelet-config-1.20'
maps="$maps kubelet-config-1.19 kubelet-config-1.18 kubelet-config-1.17 kubelet-config-1.16"
# shellcheck disable=SC2086 # several names
ask settings.json kubectl get configmap $maps kubeadm-config -n kube-system --ignore-not-found -o json
exit "$failed"
