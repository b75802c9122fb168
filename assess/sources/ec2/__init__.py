"""EC2: instances and their images, auto-scaling groups and what they did, load balancers."""

from datetime import UTC, datetime

from assess.sources.aws import AwsSource, LivePlace, Place
from assess.sources.base import Rows
from assess.sources.ec2.rows import KEPT, Answers, to_batch, withheld_n
from assess.sources.values import dicts, text

# Instances in one answer; without it AWS may take too long over one, and times out.
_PAGE = {"PageSize": 1000}
_IMAGES_AT_ONCE = 200  # values of a filter that AWS takes
_TYPES_AT_ONCE = 100


class Ec2Source(AwsSource):
    """Reads the machines of an account, their auto-scaling groups and load balancers."""

    type = "ec2"

    def read(self, place: Place) -> None:
        """Read one region of one account."""
        answers = get_all(place)
        batch, others_n = to_batch(answers)
        place.add(batch)
        if answers.instances:
            call = place.call("ec2", "describe_instances")
            call.note(rows=len(answers.instances), redacted_n=withheld_n(answers))
        call = place.call("autoscaling", "describe_scaling_activities")
        if others_n:
            call.count(unmapped_n=others_n)
        if answers.seen_at and call.has_answer:
            call.note(window_start=answers.seen_at - KEPT, window_end=answers.seen_at)


def get_all(place: Place) -> Answers:
    """Ask for all that a region has; images and types only of the instances there are."""
    reservations = place.ask(
        "ec2", "describe_instances", "Reservations", PaginationConfig=_PAGE
    )
    instances = [
        {"OwnerId": reservation.get("OwnerId"), **instance}
        for reservation in reservations or ()
        for instance in dicts(reservation, "Instances")
    ]
    groups = place.ask("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups")
    activities = place.ask("autoscaling", "describe_scaling_activities", "Activities")
    kinds = ("describe_instance_types", "InstanceTypes", "InstanceTypes")
    images = get_images(place, _distinct(instances, "ImageId"))
    names = _distinct(instances, "InstanceType")
    types = place.ask_each("ec2", *kinds, names, size=_TYPES_AT_ONCE) or []
    target_groups = place.ask("elbv2", "describe_target_groups", "TargetGroups")
    classic = place.ask("elb", "describe_load_balancers", "LoadBalancerDescriptions")
    health = ("describe_target_health", "TargetHealthDescriptions", "TargetGroupArn")
    states = ("describe_instance_health", "InstanceStates", "LoadBalancerName")
    return Answers(
        instances=instances,
        images=images,
        types=types,
        groups=groups or [],
        activities=activities or [],
        balancers=place.ask("elbv2", "describe_load_balancers", "LoadBalancers"),
        target_groups=target_groups,
        targets=place.ask_each("elbv2", *health, _distinct(target_groups, health[-1])),
        classic=classic,
        states=place.ask_each("elb", *states, _distinct(classic, states[-1])),
        account=place.account,
        region=place.region,
        seen_at=datetime.now(UTC) if isinstance(place, LivePlace) else None,
    )


def _distinct(objects: Rows | None, key: str) -> list[str]:
    """List the texts of objects under a key, each once."""
    return sorted({text(item, key) for item in objects or ()} - {""})


def get_images(place: Place, ids: list[str]) -> Rows:
    """Describe images by a filter: asked by their ids, one that is gone would fail the call."""
    images = []
    for start in range(0, len(ids), _IMAGES_AT_ONCE):
        chunk = ids[start : start + _IMAGES_AT_ONCE]
        filters = [{"Name": "image-id", "Values": chunk}]
        images += place.ask("ec2", "describe_images", "Images", Filters=filters) or []
        if place.is_probe:
            break
    return images
