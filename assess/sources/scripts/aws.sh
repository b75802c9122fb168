#!/bin/sh
# sh dump.sh DIRECTORY REGION...: writes what EC2, ECS, ECR and Systems Manager list into a new
# directory, with one inside for each region of the account that the aws command is logged in to.
# Reads: Describe, List and Get calls. Never reads: user data, secrets, parameters, logs, buckets,
# layers or manifests of images (to read one counts as a pull). It changes nothing.
# Task definitions hold environments, passwords too: all files are for your eyes alone.
: "${2:?name at least one region}"
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
each() { # KEY N "CALL QUERY" CALL...: the last call for what the first lists, N at a time
  key=$1 n=$2 list=$3
  shift 3
  # shellcheck disable=SC2086 # several words
  ids=$(aws $list --output text) || return
  [ -n "$ids" ] || echo "{\"$key\": []}"
  echo "$ids" | tr '\t' '\n' | sort -u | xargs -r -n "$n" "$@"
}
policies() { # that a repository has none is an answer
  names=$(aws ecr describe-repositories --query 'repositories[].repositoryName' --output text) || return
  bad=0
  for name in $names; do
    aws ecr get-lifecycle-policy --repository-name "$name" 2> error && continue
    grep -q LifecyclePolicyNotFoundException error && echo "{\"repositoryName\": \"$name\"}" && continue
    cat error >&2
    bad=1
  done
  rm -f error
  return "$bad"
}
definitions() {
  arns=$(sed -n 's/^ *"taskDefinition[A-Za-z]*": "\(arn:[^"]*\)".*/\1/p' describe-services-*.json describe-tasks-*.json)
  [ -n "$arns" ] || echo '{}'
  echo "$arns" | sort -u | xargs -r -n 1 aws ecs describe-task-definition --task-definition
}
# shellcheck disable=SC2016 # by a filter, as one image that is gone would fail the call
images='IFS=,; aws ec2 describe-images --filters "Name=image-id,Values=$*"'
machines='ec2 describe-instances --query Reservations[].Instances[]'
export AWS_DEFAULT_OUTPUT=json AWS_PAGER=
shift
for region in "$@"; do
  export AWS_REGION="$region" AWS_DEFAULT_REGION="$region"
  account=$(aws sts get-caller-identity --query Account --output text)
  mkdir "$account-$region"
  cd "$account-$region"
  while read -r service call option; do # shellcheck disable=SC2086 # none, or two words
    ask "$service-$call${option:+-${option##*:}}.json" aws "$service" "$call" $option
  done << END
ec2 describe-instances
autoscaling describe-auto-scaling-groups
autoscaling describe-scaling-activities
elbv2 describe-load-balancers
elbv2 describe-target-groups
elb describe-load-balancers
ecr describe-repositories
ssm describe-instance-information
ssm get-inventory --result-attributes TypeName=AWS:Application
ssm get-inventory --result-attributes TypeName=AWS:InstanceDetailedInformation
END
  ask ec2-describe-images.json each Images 200 "$machines.ImageId" sh -c "$images" images
  ask describe-instance-types.json each InstanceTypes 100 "$machines.InstanceType" \
    aws ec2 describe-instance-types --instance-types
  ask describe-target-health.json each TargetHealthDescriptions 1 \
    'elbv2 describe-target-groups --query TargetGroups[].TargetGroupArn' \
    aws elbv2 describe-target-health --target-group-arn
  ask describe-instance-health.json each InstanceStates 1 \
    'elb describe-load-balancers --query LoadBalancerDescriptions[].LoadBalancerName' \
    aws elb describe-instance-health --load-balancer-name
  ask ecr-describe-images.json each imageDetails 1 \
    'ecr describe-repositories --query repositories[].repositoryName' \
    aws ecr describe-images --filter imageStatus=ANY --repository-name
  ask get-lifecycle-policy.json policies
  ask describe-clusters.json each clusters 100 'ecs list-clusters --query clusterArns[]' \
    aws ecs describe-clusters --clusters
  for cluster in $(aws ecs list-clusters --query 'clusterArns[]' --output text); do
    while read -r kind list key n option; do # shellcheck disable=SC2086 # none, or two words
      ask "describe-$kind-${cluster##*/}${option:+-${option##* }}.json" each "$key" "$n" \
        "ecs list-$kind --cluster $cluster --query ${list}[] $option" \
        aws ecs "describe-$kind" --cluster "$cluster" --include TAGS "--$kind"
    done << END
services serviceArns services 10
tasks taskArns tasks 100 --desired-status RUNNING
tasks taskArns tasks 100 --desired-status STOPPED
container-instances containerInstanceArns containerInstances 100
END
  done
  ask describe-task-definition.json definitions
  cd ..
done
exit "$failed"
