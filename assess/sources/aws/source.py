"""What all AWS sources share: options, sessions, places asked side by side, names by tags."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock, Semaphore, Thread
from typing import Any

from assess.sources.aws.errors import aws_failure
from assess.sources.aws.place import DumpPlace, LivePlace, Place
from assess.sources.base import (
    Batch,
    Deadline,
    Name,
    Row,
    Source,
    failure,
    file_failure,
    paths_of,
)
from assess.sources.dumps import dicts, find_files
from assess.sources.redact import is_secret, scrub

__all__ = ["DumpPlace", "LivePlace", "Place"]  # beside what is defined here

OPTIONS = ("profile", "regions", "endpoint_url", "path")
NEEDS = "the read-only IAM policy that `assess sources aws --policy` prints"
ALL_REGIONS = "all"
PARALLEL = 8  # places that are asked at a time
_FIRST_REGION = "us-east-1"  # asked which others there are, where the profile names none

_NAMING_TAGS = (  # tags, rule, confidence; the first that is there
    (("assess.service",), "label", 1.0),
    (
        ("service", "Service", "app", "application", "Application", "role", "component"),
        "cloud-tag",
        0.8,
    ),
    (("aws:autoscaling:groupName",), "auto-scaling-group", 0.7),
    (
        ("aws:cloudformation:stack-name", "elasticbeanstalk:environment-name"),
        "stack",
        0.6,
    ),
    (("Name",), "name-tag", 0.5),
)
_CLUSTER_TAGS = (
    "eks:cluster-name",
    "alpha.eksctl.io/cluster-name",
    "kubernetes.io/cluster/",
    "AmazonECSManaged",
    "aws:ecs:clusterName",
)
_ENV_TAGS = ("env", "Env", "environment", "Environment", "stage", "Stage")
_ENVS = {
    "prod": "prod",
    "prd": "prod",
    "production": "prod",
    "live": "prod",
    "stage": "stage",
    "staging": "stage",
    "stg": "stage",
    "preprod": "stage",
    "dev": "dev",
    "development": "dev",
    "test": "dev",
    "qa": "dev",
    "sandbox": "dev",
}
_NUMBER = re.compile(r"[-_.]\d{1,3}$")


class AwsSource(Source):
    """Base of the AWS sources: reads every place it is configured for, each in its own thread."""

    type = ""
    options: tuple[str, ...] = OPTIONS
    fills: tuple[str, ...] = ()
    needs = NEEDS
    dump = ""

    def read(self, place: Place) -> None:
        """Ask a place, and add its rows to it."""
        raise NotImplementedError

    def check(self, options: Row) -> list[str]:
        """List what is wrong with the options."""
        live = [
            name for name in ("profile", "regions", "endpoint_url") if name in options
        ]
        wrong = {
            "path names no file or directory": "path" in options
            and not paths_of(options),
            f"path and {' and '.join(live)} exclude each other": "path" in options
            and live,
            "profile is a name, or a list of names": not _is_words(
                options.get("profile", "x")
            ),
            "regions is a region, a list of them, or 'all'": not _is_words(
                options.get("regions", "x")
            ),
            "endpoint_url is an address": not str(
                options.get("endpoint_url", "http")
            ).startswith("http"),
        }
        return [problem for problem, is_wrong in wrong.items() if is_wrong]

    def collect(self, options: Row, base: Path, deadline: Deadline) -> Batch:
        """Read all places; what one of them refuses or does not answer costs the others nothing."""
        return self._run(options, base, deadline)

    def probe(self, options: Row, base: Path, deadline: Deadline) -> Batch:
        """Make every call once, for the first page of the first of its objects."""
        return Batch(coverage=self._run(options, base, deadline, is_probe=True).coverage)

    def _run(
        self, options: Row, base: Path, deadline: Deadline, *, is_probe: bool = False
    ) -> Batch:
        batch = Batch(rows=defaultdict(list, {frame: [] for frame in self.fills}))
        find = dump_places if "path" in options else live_places
        places = [*find(options, base, deadline, batch, is_probe=is_probe)]
        for place in places:
            place.options = options
        free = Semaphore(PARALLEL)
        threads = [Thread(target=self._read, args=(p, free), daemon=True) for p in places]
        for thread in threads:
            thread.start()
        for place, thread in zip(places, threads, strict=True):
            thread.join(deadline.left + 0.5)
            batch.merge(_taken(place, has_ended=not thread.is_alive()))
        return batch

    def _read(self, place: Place, free: Semaphore) -> None:
        """Read one place in its thread."""
        with free:
            try:
                if not isinstance(place, LivePlace) or place.sign_in():
                    self.read(place)
            except (
                Exception
            ) as error:  # a payload that nobody has thought of, or the deadline
                place.batch.cover(place.scope, "read", **failure(error))


def _is_words(value: Any) -> bool:
    """Say whether it is a text, or a list of at least one."""
    words = value if isinstance(value, list) else [value]
    return bool(words) and all(isinstance(word, str) and word for word in words)


def _words(value: Any) -> list[str]:
    """Give a list of what is one, or a list, or nothing."""
    return [] if value is None else value if isinstance(value, list) else [value]


def _taken(place: Place, *, has_ended: bool) -> Batch:
    """Give what a place has; one that hangs is left behind with what it has so far."""
    if isinstance(place, DumpPlace) and has_ended and not place.used:
        hint = "no file there is named as `assess sources` says, such as describe-instances.json"
        batch = Batch()
        batch.cover(place.scope, "read", "empty", hint=hint)
        return batch
    batch = Batch(coverage=[dict(row) for row in place.batch.coverage])
    for frame, rows in list(place.batch.rows.items()):
        batch.rows[frame] = list(rows)
    batch.container_ids |= dict(place.batch.container_ids)
    if not has_ended:
        hint = "this place did not answer in time; the others did: raise the deadline"
        batch.cover(place.scope, "read", "timeout", error_class="TimeoutError", hint=hint)
    return batch


def live_places(
    options: Row, base: Path, deadline: Deadline, batch: Batch, *, is_probe: bool = False
) -> Iterator[LivePlace]:
    """Give every region of every profile; without a region there is a coverage row."""
    endpoint_url = options.get("endpoint_url")
    profiles: list[str | None] = [*_words(options.get("profile"))]
    for profile in profiles or [None]:
        account = profile or "default"
        row = batch.cover(account, "session", "ok")
        try:
            login = Login(profile, endpoint_url)
        except Exception as error:
            row |= aws_failure(error, "sts", "get_caller_identity")
            continue
        batch.coverage.remove(row)  # nothing was asked yet
        regions = _words(options.get("regions")) or _words(login.region)
        if regions == [ALL_REGIONS]:
            first = LivePlace(account, deadline, login, login.region or _FIRST_REGION)
            found = first.ask("ec2", "describe_regions", "Regions")
            batch.merge(first.batch)
            regions = [str(region.get("RegionName")) for region in found or ()]
        elif not regions:
            hint = "name the regions, such as regions = ['eu-west-1']"
            batch.cover(
                account, "session", "unreachable", error_class="NoRegionError", hint=hint
            )
        for region in dict.fromkeys(regions):
            yield LivePlace(
                f"{account}/{region}", deadline, login, region, is_probe=is_probe
            )


class Login:
    """A session of one profile, which several threads may ask for clients."""

    def __init__(self, profile: str | None, endpoint_url: str | None) -> None:
        from boto3.session import Session

        self._session, self._endpoint_url = Session(profile_name=profile), endpoint_url
        self._lock = Lock()
        self.region: str | None = self._session.region_name

    def client(self, service: str, region: str, config: Any) -> Any:
        """Make a client."""
        with self._lock:  # a session is not made for threads; clients are
            return self._session.client(
                service,
                region_name=region,
                endpoint_url=self._endpoint_url,
                config=config,
            )


def dump_places(
    options: Row, base: Path, deadline: Deadline, batch: Batch, *, is_probe: bool = False
) -> Iterator[DumpPlace]:
    """Give a place for every directory that holds dumps: one for each account and region."""
    files: dict[str, list[Path]] = defaultdict(list)
    for scope, file in find_files(options, base, batch):
        if not file.exists():
            batch.cover(scope, "read", **file_failure(FileNotFoundError()))
        else:
            files[
                str(Path(scope).parent) if (base / scope).parent != base else scope
            ].append(file)
    for scope, found in files.items():
        yield DumpPlace(scope, deadline, found, is_probe=is_probe)


def tags_of(*lists: Any) -> dict[str, str]:
    """Read tags, with ``Key``/``Value`` or ``key``/``value``; the first of a key wins."""
    tags: dict[str, str] = {}
    for tag in (tag for tags in lists for tag in dicts(tags)):
        key, value = tag.get("Key", tag.get("key")), tag.get("Value", tag.get("value"))
        if isinstance(key, str) and isinstance(value, str):
            tags.setdefault(key, value.strip())
    return tags


def names_of(tags: Mapping[str, str]) -> tuple[Name, ...]:
    """List the names that tags give a service, best first; none for a node of a cluster.

    Of the tag ``Name``, a number at its end is left out: ``web-01`` and ``web-02`` are one.
    """
    if is_cluster_node(tags):
        return ()
    names = []
    for keys, rule, confidence in _NAMING_TAGS:
        found = (
            tags[key] for key in keys if tags.get(key) and not is_secret(key, tags[key])
        )
        if text := scrub(next(found, "")):
            text = _NUMBER.sub("", text) if rule == "name-tag" else text
            names.append(Name(text, rule, confidence))
    return tuple(names)


def is_cluster_node(tags: Mapping[str, str]) -> bool:
    """Say whether a machine is there for a cluster, so that its tags name no service."""
    return any(tag.startswith(_CLUSTER_TAGS) for tag in tags)


def is_naming(tag: str) -> bool:
    """Say whether a tag names a service, a cluster or an environment; no other is kept."""
    named = {key for keys, _, _ in _NAMING_TAGS for key in keys} | {*_ENV_TAGS}
    return tag in named or tag.startswith(_CLUSTER_TAGS)


def env_of(tags: Mapping[str, str]) -> str | None:
    """Read the environment from tags, as the data dictionary names it."""
    return next((_ENVS.get(tags[tag].lower()) for tag in _ENV_TAGS if tag in tags), None)
