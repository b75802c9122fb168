"""EC2: instances and their images, auto-scaling groups and what they did, load balancers."""

from __future__ import annotations

from datetime import UTC, datetime

from assess.sources.aws.place import ANSWERED
from assess.sources.aws.source import AwsSource, LivePlace, Place
from assess.sources.base import Row
from assess.sources.dumps import dicts
from assess.sources.ec2.balancers import Balancers
from assess.sources.ec2.rows import Payloads, to_batch, withheld_n
from assess.sources.ec2.scaling import KEPT
from assess.sources.hosts.rows import text_of

_PAGE = {
    "PageSize": 1000
}  # instances at once; without it AWS may take too long over one answer
_IMAGES, _TYPES = 200, 100  # values that AWS takes in one call


class Ec2Source(AwsSource):
    """Reads the machines of an account, and what keeps them alive."""

    type = "ec2"
    fills = ("hosts", "workloads", "services", "activities")
    dump = (
        "aws ec2 describe-instances|describe-images --owners … |describe-instance-types, "
        "autoscaling describe-auto-scaling-groups|describe-scaling-activities, elbv2 "
        "describe-load-balancers|describe-target-groups|describe-target-health, elb "
        "describe-load-balancers|describe-instance-health > the call's name .json, in a directory "
        "for every account and region"
    )

    def read(self, place: Place) -> None:
        """Read one region of one account."""
        payloads = get_all(place)
        payloads.account, payloads.region = place.account, place.region
        payloads.seen_at = datetime.now(UTC) if isinstance(place, LivePlace) else None
        batch, others_n = to_batch(payloads)
        for frame, rows in batch.rows.items():
            place.add(frame, *rows)
        if payloads.instances:
            row = place.row("ec2", "describe_instances")
            row |= {"rows": len(payloads.instances), "redacted_n": withheld_n(payloads)}
        row = place.row("autoscaling", "describe_scaling_activities")
        if others_n:
            row["unmapped_n"] = others_n
        if payloads.seen_at and row["status"] in ANSWERED:
            row |= {
                "window_start": payloads.seen_at - KEPT,
                "window_end": payloads.seen_at,
            }


def get_all(place: Place) -> Payloads:
    """Ask for all that a region has; images and types only of the instances there are."""
    reservations = place.ask(
        "ec2", "describe_instances", "Reservations", PaginationConfig=_PAGE
    )
    instances = [
        {"OwnerId": reservation.get("OwnerId"), **instance}
        for reservation in reservations or ()
        for instance in dicts(reservation.get("Instances"))
    ]
    types = (text_of(instance.get("InstanceType")) for instance in instances)
    return Payloads(
        instances=instances,
        images=_get_images(
            place, [text_of(instance.get("ImageId")) for instance in instances]
        ),
        types=place.ask_each(
            "ec2",
            "describe_instance_types",
            "InstanceTypes",
            "InstanceTypes",
            filter(None, types),
            size=_TYPES,
        )
        or [],
        groups=place.ask(
            "autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups"
        )
        or [],
        activities=place.ask("autoscaling", "describe_scaling_activities", "Activities")
        or [],
        balancers=_get_balancers(place),
    )


def _get_images(place: Place, ids: list[str]) -> list[Row]:
    """Ask for images by a filter: asked by their ids, one that is gone would fail the call."""
    wanted = sorted({identifier for identifier in ids if identifier})
    found: list[Row] = []
    for start in range(0, len(wanted), _IMAGES):
        filters = [{"Name": "image-id", "Values": wanted[start : start + _IMAGES]}]
        found += place.ask("ec2", "describe_images", "Images", Filters=filters) or []
        if place.is_probe:
            break
    return found


def _get_balancers(place: Place) -> Balancers:
    """Ask for load balancers of both generations, and how they see what is behind them."""
    groups = place.ask("elbv2", "describe_target_groups", "TargetGroups")
    classic = place.ask("elb", "describe_load_balancers", "LoadBalancerDescriptions")
    arns = (text_of(group.get("TargetGroupArn")) for group in groups or ())
    names = (text_of(balancer.get("LoadBalancerName")) for balancer in classic or ())
    return Balancers(
        balancers=place.ask("elbv2", "describe_load_balancers", "LoadBalancers"),
        groups=groups,
        targets=place.ask_each(
            "elbv2",
            "describe_target_health",
            "TargetHealthDescriptions",
            "TargetGroupArn",
            filter(None, arns),
        ),
        classic=classic,
        states=place.ask_each(
            "elb",
            "describe_instance_health",
            "InstanceStates",
            "LoadBalancerName",
            filter(None, names),
        ),
    )
