"""Headers and words of exports of incidents, and what they mean in the incidents frame."""

from __future__ import annotations

import re

# Units of durations, by header. [s]
DURATIONS = {
    "ttr_s": 1, "time_to_resolve_s": 1, "duration_s": 1, "seconds_to_resolve": 1,
    "duration_seconds": 1, "ttr_minutes": 60, "duration_minutes": 60, "minutes_to_resolve": 60,
    "ttr_hours": 3600, "duration_hours": 3600,
}  # fmt: skip
# Headers, written alike, by column of the frame; the first that a row fills counts.
COLUMNS = {
    "incident_id": (
        "incident_id", "id", "incident", "incident_number", "number", "key", "issue_key",
    ),
    "service": (
        "service_raw", "service", "service_name", "service_id", "affected_service", "component",
        "components", "component_s", "business_service", "cmdb_ci", "application", "app",
    ),
    "service_id": ("service_id",),
    "opened_at": (
        "opened_at", "opened", "created_at", "created", "started_at", "start_time", "start",
        "started", "start_date", "impact_start", "impact_start_date", "triggered_at", "date",
    ),
    "acked_at": ("acked_at", "acknowledged_at", "acknowledged", "first_ack_at", "acked"),
    "resolved_at": (
        "resolved_at", "resolved", "resolved_on", "ended_at", "end_time", "end", "end_date",
        "impact_end", "impact_end_date", "fixed_at", "closed_at", "closed",
    ),
    "duration": tuple(DURATIONS),
    "severity": ("severity", "sev", "priority", "urgency", "impact", "level"),
    "cause": ("cause", "root_cause", "root_cause_category", "cause_category", "category"),
    "change_related": ("change_related", "change_induced", "caused_by_change"),
    "customer_facing": ("customer_facing", "customer_impact"),
    "platform_at_time": ("platform_at_time", "platform", "runtime"),
    "container_evidence": ("container_evidence",),
    "affected": ("affected_services", "affected", "services", "impacted_services"),
    "host_id": ("host_id", "host", "hostname", "instance_id", "node"),
    "duplicate_of": ("duplicate_of", "duplicate", "parent_incident"),
}  # fmt: skip
LABELS = ("labels", "label", "tags", "tag")
FREE_TEXT = (
    "title", "summary", "description", "name", "message", "notes", "comments", "short_description",
    "postmortem", "resolution", "assignee", "reporter", "caller", "email",
)  # fmt: skip
SEVERITIES = {
    "blocker": 1, "critical": 1, "crit": 1, "emergency": 1, "highest": 1, "outage": 1,
    "high": 2, "major": 2, "error": 2,
    "medium": 3, "moderate": 3, "minor": 3, "normal": 3, "warning": 3,
    "low": 4, "lowest": 5, "trivial": 5, "info": 5, "informational": 5, "none": 5, "planning": 5,
}  # fmt: skip
CAUSES = {
    "deployment": "deploy", "release": "deploy", "rollout": "deploy", "bad_deploy": "deploy",
    "configuration": "change", "config": "change", "config_change": "change",
    "maintenance": "change", "load": "capacity", "traffic": "capacity", "memory": "capacity",
    "hardware": "host", "server": "host", "node": "host", "vm": "host", "dns": "network",
    "connectivity": "network", "image_registry": "registry", "package_repository": "package-repo",
    "docker": "engine", "container_runtime": "engine", "disk": "storage", "volume": "storage",
    "disk_space": "disk-full", "no_space": "disk-full", "kubernetes": "orchestrator",
    "ecs": "orchestrator", "swarm": "orchestrator", "scheduler": "orchestrator",
    "third_party": "dependency", "upstream": "dependency", "provider": "dependency",
    "application": "app", "bug": "app", "code": "app", "software": "app", "db": "database",
    "human_error": "human", "operator": "human", "operator_error": "human",
}  # fmt: skip
PLATFORMS = {
    "k8s": "kubernetes", "eks": "kubernetes", "gke": "kubernetes", "aks": "kubernetes",
    "fargate": "ecs", "compose": "docker", "container": "docker", "containers": "docker",
    "vm": "host", "vms": "host", "bare_metal": "host", "ec2": "host", "server": "host",
    "mesos": "marathon", "docker_swarm": "swarm",
}  # fmt: skip
BOOLEANS = dict.fromkeys(("true", "yes", "y", "1"), True) | dict.fromkeys(
    ("false", "no", "n", "0"), False
)
MISSING = frozenset(("", "null", "none", "n/a", "na", "nan", "-", "unknown"))
CONTAINER_WORDS = re.compile(
    r"\b(docker\w*|containers?|containerd|kubernetes|k8s|pods?|ecs|swarm|nomad|oom-?killed"
    r"|image ?pull\w*)\b",
    re.IGNORECASE,
)
