# What the source nomad asks for: lists and declarations of jobs, and nodes; no logs, files or exec.
# nomad acl policy apply assess nomad.hcl; nomad acl token create -name assess -policy assess
namespace "*" {
  capabilities = ["list-jobs", "read-job"]
}

node {
  policy = "read"
}
