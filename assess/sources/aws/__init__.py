"""Parts of all AWS sources: options, places asked side by side, and tags."""

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Semaphore, Thread
from typing import Any

from assess.sources.aws.place import DumpPlace, LivePlace, Login, Place, failure_of
from assess.sources.base import (
    Asked,
    Batch,
    Name,
    Names,
    Row,
    Source,
    option_problems,
    paths_of,
)
from assess.sources.csv_records import vocabulary
from assess.sources.dumps import JSON_SUFFIXES, find_files
from assess.sources.failure import failure
from assess.sources.redact import is_secret, scrub
from assess.sources.values import Texts, Words, as_list, dicts, moment

__all__ = ["DumpPlace", "LivePlace", "Place"]  # beside what is defined here

ALL_REGIONS = "all"
PARALLEL = 8  # places that are asked at a time
_FIRST_REGION = "us-east-1"  # asked which others there are, where the profile names none
_JOIN_S = 0.3  # time for a place to hand over what it has once the deadline has passed

GROUP_TAG = "aws:autoscaling:groupName"
LOGICAL_TAG = "aws:cloudformation:logical-id"
_NAMING_TAGS = vocabulary("aws", "naming tags")  # and the rule that each stands for
_CONFIDENCE = vocabulary("aws", "confidence of rules")
_CLUSTER_TAGS = tuple(vocabulary("aws", "cluster tags"))
_ENV_TAGS = tuple(vocabulary("aws", "environment tags"))
_NUMBER = re.compile(r"[-_.]\d{1,3}$")


class AwsSource(Source):
    """Base of the AWS sources: reads every place it is configured for, each in its own thread."""

    suffixes: Words = JSON_SUFFIXES  # of its dumps

    def read(self, place: Place) -> None:
        """Ask a place, and add its rows to it."""
        raise NotImplementedError

    def check(self, options: Row) -> list[str]:
        """List what is wrong with the options."""
        live = [n for n in ("profile", "regions", "endpoint_url") if n in options]
        problems = option_problems(self, options)
        if "path" in options and not paths_of(options):
            problems.append("path names no file or directory")
        if "path" in options and live:
            problems.append(f"path and {' and '.join(live)} exclude each other")
        return problems

    def fill(self, asked: Asked) -> None:
        """Read all places, each for itself; a probe reads the first page of each list, of one object."""
        asked.batch.rows |= {frame: [] for frame in self.fills}
        places: Iterator[Place] = live_places(asked)
        if "path" in asked.options:
            places = dump_places(asked, self.suffixes)
        free = Semaphore(PARALLEL)
        threads = {}
        for place in places:
            place.options = asked.options
            place.forms = self.forms
            place.is_probe = asked.is_probe
            threads[place] = Thread(target=self._read, args=(place, free), daemon=True)
            threads[place].start()
        for place, thread in threads.items():
            asked.deadline.join(thread, _JOIN_S)
            asked.batch.merge(_batch_of(place, has_ended=not thread.is_alive()))

    def _read(self, place: Place, free: Semaphore) -> None:
        with free:
            try:
                if not isinstance(place, LivePlace) or place.sign_in():
                    self.read(place)
                    place.skip_unlisted()
            except Exception as error:  # the deadline, or a payload of a new form
                place.batch.cover(place.scope, "read", **failure(error))


def _batch_of(place: Place, *, has_ended: bool) -> Batch:
    """Return the rows of a place; a place that hangs is abandoned with its rows so far."""
    batch = Batch()
    if isinstance(place, DumpPlace) and has_ended and not place.used:
        hint = "no file there is named as `assess sources` says, such as describe-instances.json"
        batch.cover(place.scope, "read", "unreachable", hint=hint)
        return batch
    # Copies: the thread of a place that hangs may still write.
    batch.coverage = [dict(row) for row in place.batch.coverage]
    for frame, rows in list(place.batch.rows.items()):
        batch.rows[frame] = list(rows)
    batch.container_ids |= dict(place.batch.container_ids)
    if not has_ended:
        hint = "this place did not answer in time; the others did: raise the deadline"
        batch.cover(place.scope, "read", "timeout", error_class="TimeoutError", hint=hint)
    return batch


def live_places(asked: Asked) -> Iterator[LivePlace]:
    """List every region of every profile; a profile without one leaves a coverage row."""
    options = asked.options
    batch = asked.batch
    classify = partial(failure_of, service="sts", call="get_caller_identity")
    for profile in as_list(options, "profile") or [None]:
        account = profile or "default"
        login = None
        with batch.call(account, "session", classify=classify) as call:
            login = Login(profile, options.get("endpoint_url"))
        if not login:
            continue
        batch.coverage.remove(call.row)  # nothing was asked yet
        regions = as_list(options, "regions") or as_list(login.region)
        if regions == [ALL_REGIONS]:
            first = LivePlace(
                account, asked.deadline, login, login.region or _FIRST_REGION
            )
            answer = first.ask("ec2", "describe_regions", "Regions")
            batch.merge(first.batch)
            regions = [str(region.get("RegionName")) for region in answer or ()]
        elif not regions:
            hint = "name the regions, such as regions = ['eu-west-1']"
            row = batch.cover(account, "session", "unreachable", hint=hint)
            row["error_class"] = "NoRegionError"
        for region in dict.fromkeys(regions):
            yield LivePlace(f"{account}/{region}", asked.deadline, login, region)


def dump_places(asked: Asked, suffixes: Words) -> Iterator[DumpPlace]:
    """List a place for every directory of dumps: one for each account and region."""
    files: dict[str, list[Path]] = defaultdict(list)
    for scope, file in find_files(asked, suffixes):
        if not file.exists():
            asked.batch.cover(scope, "read", **failure(FileNotFoundError()))
            continue
        is_below = (asked.base / scope).parent != asked.base
        files[str(Path(scope).parent) if is_below else scope].append(file)
    for scope, listed in files.items():
        yield DumpPlace(scope, asked.deadline, listed)


def tags_of(payload: Any, *path: str) -> Texts:
    """Read tags, with ``Key``/``Value`` or ``key``/``value``; the first of a key wins."""
    tags: Texts = {}
    for tag in dicts(payload, *path):
        # EC2 and the load balancers capitalise, ECS and ECR do not.
        key = tag.get("Key", tag.get("key"))
        value = tag.get("Value", tag.get("value"))
        if isinstance(key, str) and isinstance(value, str):
            tags.setdefault(key, value.strip())
    return tags


def span_of(payload: Row, start: str, end: str) -> Row:
    """Return the columns of an activity that say when it was."""
    begun = moment(payload, start)
    ended = moment(payload, end)
    duration = None
    if begun and ended and ended >= begun:
        duration = (ended - begun).total_seconds()
    return {"started_at": begun, "ended_at": ended, "duration_s": duration}


def names_of(tags: Texts) -> Names:
    """List the names that tags give a service, best first; none for a node of a cluster."""
    # A number at the end of the tag ``Name`` is left out: ``web-01`` and ``web-02`` are
    # one.
    if is_cluster_node(tags):
        return ()
    names = []
    for rule, confidence in _CONFIDENCE.items():
        keys = (key for key, named in _NAMING_TAGS.items() if named == rule)
        values = ((key, tags[key]) for key in keys if tags.get(key))
        usable = (value for key, value in values if not is_secret(key, value))
        text = scrub(next(usable, ""))
        if rule == "name-tag":
            text = _NUMBER.sub("", text)
        if text:
            names.append(Name(text, rule, float(confidence)))
    return tuple(names)


def is_cluster_node(tags: Texts) -> bool:
    """Return whether a machine belongs to a cluster, so that its tags name no service."""
    return any(tag.startswith(_CLUSTER_TAGS) for tag in tags)


def is_naming(tag: str) -> bool:
    """Return whether a tag names a service, a cluster or an environment; no other is kept."""
    naming = {*_NAMING_TAGS, *_ENV_TAGS, LOGICAL_TAG}
    return tag in naming or tag.startswith(_CLUSTER_TAGS)


def env_of(tags: Texts) -> str | None:
    """Read the environment from tags, as the data dictionary names it."""
    words = (tags[tag].lower() for tag in _ENV_TAGS if tag in tags)
    return vocabulary("aws", "environments").get(next(words, ""))
