"""Headers of exports of incidents, and the columns of the incidents frame that they mean.

What their words mean, the policy says.
"""

from __future__ import annotations

# Units of durations, by header. [s]
DURATIONS = {
    "ttr_s": 1,
    "time_to_resolve_s": 1,
    "duration_s": 1,
    "seconds_to_resolve": 1,
    "duration_seconds": 1,
    "ttr_minutes": 60,
    "duration_minutes": 60,
    "minutes_to_resolve": 60,
    "ttr_hours": 3600,
    "duration_hours": 3600,
}
# Headers, written alike, by column of the frame; the first that a row fills counts.
COLUMNS = {
    "incident_id": (
        "incident_id",
        "id",
        "incident",
        "incident_number",
        "number",
        "key",
        "issue_key",
    ),
    "service": (
        "service_raw",
        "service",
        "service_name",
        "service_id",
        "affected_service",
        "component",
        "components",
        "component_s",
        "business_service",
        "cmdb_ci",
        "application",
        "app",
    ),
    "service_id": ("service_id",),
    "opened_at": (
        "opened_at",
        "opened",
        "created_at",
        "created",
        "started_at",
        "start_time",
        "start",
        "started",
        "start_date",
        "impact_start",
        "impact_start_date",
        "triggered_at",
        "date",
        "created_on",
        "created_date",
    ),
    "acked_at": ("acked_at", "acknowledged_at", "acknowledged", "first_ack_at", "acked"),
    "resolved_at": (
        "resolved_at",
        "resolved",
        "resolved_on",
        "ended_at",
        "end_time",
        "end",
        "end_date",
        "impact_end",
        "impact_end_date",
        "fixed_at",
        "closed_at",
        "closed",
        "resolution_date",
        "resolutiondate",
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
}
LABELS = ("labels", "label", "tags", "tag")
TITLES = ("title", "summary", "message", "short_description", "name")
FREE_TEXT = (
    "title",
    "summary",
    "description",
    "name",
    "message",
    "notes",
    "comments",
    "short_description",
    "postmortem",
    "resolution",
    "assignee",
    "reporter",
    "caller",
    "email",
)
BOOLEANS = dict.fromkeys(("true", "yes", "y", "1"), True) | dict.fromkeys(
    ("false", "no", "n", "0"), False
)
MISSING = frozenset(("", "null", "none", "n/a", "na", "nan", "-", "unknown"))
