"""Activities of auto-scaling groups, and their causes by the words of AWS alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta

from assess.sources.base import Name, Row
from assess.sources.hosts.rows import text_of
from assess.sources.values import moment

KEPT = timedelta(weeks=6)  # for so long AWS keeps activities
_KINDS = {"launching": "launch", "terminating": "terminate"}
_CAUSES = (  # the first that fits; a difference from the desired capacity alone is no cause
    ("spot", r"\bspot\b|rebalance recommendation|interruption"),
    ("refresh", r"instance refresh|max(imum)? (instance )?lifetime"),
    ("health", r"health.?check|unhealthy|status checks?"),
    ("manual", r"user request|a user|user-initiated|detach"),
    ("scale", r"alarm|policy|scheduled action|predictive|balance instances|zones"),
)
_INSTANCE = re.compile(r"\bi-[0-9a-f]{8,17}\b")


def to_activities(
    activities: Iterable[Row], names: Mapping[str, tuple[Name, ...]]
) -> tuple[list[Row], int]:
    """Return the rows of launches and terminations, and the number of other activities.

    The names are those of the services of the groups.
    """
    rows: dict[str, Row] = {}
    others = 0
    for activity in activities:
        identifier = text_of(activity.get("ActivityId"))
        group = group_of(activity)
        description = text_of(activity.get("Description"))
        kind = _KINDS.get(description.partition(" ")[0].lower())
        started = moment(activity.get("StartTime"))
        ended = moment(activity.get("EndTime"))
        if not identifier or not kind or not started:
            others += 1
            continue
        instance = _INSTANCE.search(description)
        seconds = (ended - started).total_seconds() if ended else None
        rows[identifier] = {
            "activity_id": identifier,
            "names": names.get(group, ()),
            "host_id": instance[0] if instance else None,
            "group": group or None,
            "kind": kind,
            "started_at": started,
            "ended_at": ended,
            "status": text_of(activity.get("StatusCode")) or None,
            "cause": cause_of(activity.get("Cause")),
            "duration_s": seconds if seconds is not None and seconds >= 0 else None,
        }
    return list(rows.values()), others


def group_of(activity: Row) -> str:
    """Return the group of an activity."""
    arn = str(activity.get("AutoScalingGroupARN") or "")
    return text_of(activity.get("AutoScalingGroupName")) or text_of(
        arn.rpartition("/")[2]
    )


def cause_of(text: object) -> str:
    """Classify why an instance came or went; the text itself, which may name people, is not kept.

    ``At 2026-07-01T10:00:00Z an instance was taken out of service in response to an ELB system
    health check failure.`` is of health.
    """
    words = text.lower() if isinstance(text, str) else ""
    return next(
        (cause for cause, pattern in _CAUSES if re.search(pattern, words)), "unknown"
    )
