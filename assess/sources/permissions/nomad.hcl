# What the source nomad asks for: lists and declarations of jobs, and nodes; no logs, files or exec.
# It asks GET /v1/jobs, /v1/job/ID, /v1/nodes, /v1/node/ID and /v1/allocations.
# nomad acl policy apply assess nomad.hcl; nomad acl token create -name assess -policy assess
namespace "*" {
  capabilities = ["list-jobs", "read-job"]
}

node {
  policy = "read"
}
