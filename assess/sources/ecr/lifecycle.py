"""What a lifecycle policy of ECR would expire, worked out without asking ECR to preview it.

The preview of ECR needs a permission to write. This follows the documented evaluation: all rules
are evaluated over all images, then applied by priority; an image that matches the tags of a rule is
out of reach of later ones, yet they still count it; expiry goes from the oldest to the newest; an
image that an index refers to stays as long as the index does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from assess.sources.dumps import dig

STANDARD, ARCHIVE = "standard", "archive"
_AGES = ("sinceImagePushed", "sinceImagePulled", "sinceImageTransitioned")
_COUNT_TYPES = ("imageCountMoreThan", *_AGES)
_RULE_KEYS = {"rulePriority", "description", "selection", "action"}
_SELECTION_KEYS = {
    "tagStatus",
    "tagPatternList",
    "tagPrefixList",
    "storageClass",
    "countType",
    "countUnit",
    "countNumber",
}
_WILDCARDS_MAX = 4
_DAYS_MAX = 36_500
_SAFETY: dict[bool | None, int] = {True: 0, None: 1, False: 2}  # of being expired


@dataclass(frozen=True)
class Image:
    """One image of a repository, as far as a lifecycle policy looks at it."""

    digest: str
    tags: tuple[str, ...] = ()
    pushed_at: datetime | None = None
    pulled_at: datetime | None = None  # None where it never was
    storage: str | None = STANDARD  # None where it moves between the classes
    archived_at: datetime | None = None
    activated_at: datetime | None = None  # brought back from the archive
    subject: str | None = None  # digest that it refers to, as a signature does

    @property
    def dated_at(self) -> datetime | None:
        """Since when it is in its storage class; its order, and its age where it was not pulled."""
        if self.storage == ARCHIVE:
            return self.archived_at or self.pushed_at
        return self.activated_at or self.pushed_at


@dataclass(frozen=True)
class Rule:
    """One rule of a policy, in a form that is known."""

    priority: int
    tag_status: str
    patterns: tuple[tuple[str, ...], ...]  # each the parts between its stars
    storage: str
    count_type: str
    count: int
    expires: bool  # else it moves images to the archive

    def matches(self, image: Image) -> bool:
        """Say whether an image meets what the rule says about tags and storage class."""
        if image.storage != self.storage:
            return False
        if self.tag_status == "any":
            return True
        if self.tag_status == "untagged":
            return not image.tags
        return bool(image.tags) and all(
            any(is_like(tag, pattern) for tag in image.tags) for pattern in self.patterns
        )

    def marked(self, images: Sequence[Image], now: datetime) -> tuple[set[str], set[str]]:
        """Give the digests that the rule would act on, were it the only one, and those left open.

        They are open where a time is unknown that it goes by, or where images of the same second
        stand on both sides of a count: ECR knows their order, and does not tell it.
        """
        since = {image.digest: self._since(image) for image in images}
        times = sorted((at for at in since.values() if at), reverse=True)
        undated = {digest for digest, at in since.items() if at is None}
        if self.count_type != "imageCountMoreThan":
            oldest = now - timedelta(days=self.count)
            return {d for d, at in since.items() if at and at < oldest}, undated
        if len(images) <= self.count:
            return set(), set()
        if undated:
            return set(), set(since)
        last = times[self.count - 1]  # of those that stay
        tied = {digest for digest, at in since.items() if at == last}
        is_sure = times[self.count] < last
        return {
            d for d, at in since.items() if at and at < last
        }, set() if is_sure else tied

    def _since(self, image: Image) -> datetime | None:
        """From when on the rule counts the days of an image."""
        if self.count_type == "sinceImageTransitioned":
            return image.archived_at
        if self.count_type == "sinceImagePulled":
            known = [at for at in (image.pulled_at, image.activated_at) if at]
            return max(known, default=image.pushed_at)
        return image.dated_at


def read_policy(text: Any) -> list[Rule] | None:
    """Read the text of a policy into rules by priority; None where any of it has no known form."""
    try:
        policy = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        return None
    raw = dig(policy, "rules")
    if not isinstance(raw, list) or not raw or set(policy) != {"rules"}:
        return None
    rules = [rule for rule in map(_read_rule, raw) if rule]
    priorities = {rule.priority for rule in rules}
    if len(priorities) != len(raw):
        return None
    rules.sort(key=lambda rule: rule.priority)
    for storage in (
        STANDARD,
        ARCHIVE,
    ):  # a rule for any image comes last in its storage class
        kinds = [rule.tag_status for rule in rules if rule.storage == storage]
        if "any" in kinds[:-1] or kinds.count("untagged") > 1:
            return None
    return rules


def _read_rule(raw: Any) -> Rule | None:
    """Read one rule; None for any word, number or combination that ECR does not document."""
    selection, action = dig(raw, "selection"), dig(raw, "action")
    priority, kind = dig(raw, "rulePriority"), dig(action, "type")
    status, count_type = dig(selection, "tagStatus"), dig(selection, "countType")
    storage = dig(selection, "storageClass")
    storage = STANDARD if storage is None else storage
    count = dig(selection, "countNumber")
    is_known = (
        isinstance(selection, dict)
        and not set(raw) - _RULE_KEYS
        and not set(selection) - _SELECTION_KEYS
        and _is_count(priority)
        and _is_count(count)
        and status in ("tagged", "untagged", "any")
        and count_type in _COUNT_TYPES
        and storage in (STANDARD, ARCHIVE)
        and dig(selection, "countUnit") == ("days" if count_type in _AGES else None)
        and (count_type not in _AGES or count <= _DAYS_MAX)
        and (count_type != "sinceImageTransitioned" or storage == ARCHIVE)
        and _is_action(action, storage)
    )
    patterns = _patterns(selection, status) if is_known else None
    if patterns is None:
        return None
    return Rule(priority, status, patterns, storage, count_type, count, kind == "expire")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_action(action: Any, storage: str) -> bool:
    """Say whether an action is one that ECR knows: expire, or move from standard to archive."""
    if action == {"type": "expire"}:
        return True
    return storage == STANDARD and action == {
        "type": "transition",
        "targetStorageClass": ARCHIVE,
    }


def _patterns(
    selection: Mapping[str, Any], status: str
) -> tuple[tuple[str, ...], ...] | None:
    """Read what tags have to look like; None where the lists do not fit the tag status."""
    given = {
        k: selection[k] for k in ("tagPatternList", "tagPrefixList") if selection.get(k)
    }
    if status != "tagged":
        return None if given else ()
    if len(given) != 1:
        return None
    ((key, words),) = given.items()
    if not isinstance(words, list) or not all(isinstance(w, str) and w for w in words):
        return None
    if key == "tagPrefixList":
        return tuple((word, "") for word in words)
    if any(word.count("*") > _WILDCARDS_MAX for word in words):
        return None
    return tuple(tuple(word.split("*")) for word in words)


def is_like(tag: str, parts: Sequence[str]) -> bool:
    """Say whether a tag is like a pattern, given as the parts between its stars."""
    if len(parts) == 1:
        return tag == parts[0]
    first, *between, last = parts
    at = len(first)
    for part in (
        between
    ):  # each as far to the left as it goes; no expression, for tags are foreign
        if (found := tag.find(part, at)) < 0:
            return False
        at = found + len(part)
    return tag.startswith(first) and tag.endswith(last) and len(tag) - len(last) >= at


def would_expire(
    rules: Sequence[Rule],
    images: Sequence[Image],
    children: Mapping[str, frozenset[str] | None],
    now: datetime,
) -> dict[str, bool | None]:
    """Say of each image, by digest, whether the policy would expire it; None where it is open.

    ``children`` holds the digests that each index refers to, None where nobody read them. Images
    whose time of push is unknown leave open what any rule does that might touch them.
    """
    applied, vague = _applied(rules, images, now)
    known = {image.digest: image for image in images}
    fates = {d: None if d in vague else applied.get(d, False) for d in known}
    if None in children.values():  # an index that nobody read may hold what has no tag
        for digest, image in known.items():
            is_maybe_held = not image.tags and digest not in children
            fates[digest] = None if fates[digest] and is_maybe_held else fates[digest]
    _hold(fates, children)
    roots: dict[str, str] = {}
    for digest in known:
        root = _root(digest, known, roots)
        if root != digest:
            # ECR removes with an image what refers to it; whether that may go before is not said
            gone = fates[root]
            fates[digest] = (
                True if gone else None if gone is None or fates[digest] else False
            )
    return fates


def _hold(
    fates: dict[str, bool | None], children: Mapping[str, frozenset[str] | None]
) -> None:
    """Keep what an index refers to as long as the index stays; fates only ever get safer."""
    waiting = [digest for digest in children if digest in fates]
    while waiting:
        index = waiting.pop()
        for child in children[index] or ():
            if child in fates and _SAFETY[fates[index]] > _SAFETY[fates[child]]:
                fates[child] = fates[index]
                waiting += [child] if child in children else []


def _root(digest: str, known: Mapping[str, Image], roots: dict[str, str]) -> str:
    """Find what an image refers to in the end; the image itself where it is no reference."""
    path: dict[str, None] = {}
    at = digest
    while at not in roots and at not in path:
        path[at] = None
        subject = known[at].subject
        if subject not in known:
            break
        at = str(subject)
    root = roots.get(at, at)
    roots |= dict.fromkeys(path, root)
    return root


def _applied(
    rules: Sequence[Rule], images: Sequence[Image], now: datetime
) -> tuple[dict[str, bool], set[str]]:
    """Apply rules by priority: what the one rule does that takes an image, and what is open."""
    applied: dict[str, bool] = {}
    vague = {image.digest for image in images if image.storage is None}
    taken: set[str] = set()
    for rule in rules:
        selected = [image for image in images if rule.matches(image)]
        marked, unknown = rule.marked(selected, now)
        for image in selected:
            if image.digest not in taken:
                if image.digest in unknown and rule.expires:
                    vague.add(image.digest)
                elif image.digest in marked:
                    applied[image.digest] = rule.expires
        taken |= {image.digest for image in selected}
    return applied, vague
