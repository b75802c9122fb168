"""Images that a lifecycle policy of ECR would expire, without asking ECR for a preview.

The preview needs a permission to write. This follows ECR's documented evaluation: all rules are
evaluated over all images, then applied by priority. An image that matches the tags of a rule is
out of reach of later rules, yet they still count it. Images expire from the oldest to the newest,
and what an index refers to stays as long as the index does.

References
----------
https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from assess.sources.values import Texts, Words, dig, int_of

STANDARD = "standard"
ARCHIVE = "archive"
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
_ARCHIVING = {"type": "transition", "targetStorageClass": ARCHIVE}
_WILDCARDS_MAX = 4  # of a pattern, by ECR's limit
_DAYS_MAX = 36_500  # beyond it datetime overflows
_SAFETY: dict[bool | None, int] = {True: 0, None: 1, False: 2}  # of being expired
Fates = dict[str, bool | None]  # by digest: whether it would expire; None where open
Children = Mapping[str, frozenset[str] | None]  # by index; None where nobody read it


@dataclass(frozen=True)
class Image:
    """The facts of one image that a lifecycle policy reads."""

    digest: str
    tags: Words = ()
    pushed_at: datetime | None = None
    pulled_at: datetime | None = None  # None where it never was
    storage: str | None = STANDARD  # None while it moves between the classes
    archived_at: datetime | None = None
    activated_at: datetime | None = None  # brought back from the archive
    subject: str | None = None  # digest that it refers to, as a signature does


@dataclass(frozen=True)
class Rule:
    """One rule of a policy."""

    priority: int
    tag_status: str
    patterns: tuple[Words, ...]  # each the parts between its stars
    storage: str
    count_type: str
    count: int
    expires: bool  # otherwise it moves images to the archive

    def matches(self, image: Image) -> bool:
        """Return whether an image has the tags and the storage class that the rule selects."""
        if image.storage != self.storage:
            return False
        if self.tag_status == "any":
            return True
        if self.tag_status == "untagged":
            return not image.tags
        return bool(image.tags) and all(
            any(is_like(tag, pattern) for tag in image.tags) for pattern in self.patterns
        )

    def split(self, images: Sequence[Image], now: datetime) -> tuple[set[str], set[str]]:
        """Return the digests that the rule alone would act on, and those that stay open."""
        # Undecided: images without the time that the rule reads, and images of the same
        # second on both sides of a count: ECR knows their order, and does not publish it.
        since = {image.digest: self._since(image) for image in images}
        known = {digest: at for digest, at in since.items() if at}
        undated = set(since) - set(known)
        if self.count_type != "imageCountMoreThan":
            oldest = now - timedelta(days=self.count)
            return {digest for digest, at in known.items() if at < oldest}, undated
        if len(images) <= self.count:
            return set(), set()
        if undated:  # any image may be among the newest
            return set(), set(since)
        times = sorted(known.values(), reverse=True)
        last_kept = times[self.count - 1]
        tied = {digest for digest, at in known.items() if at == last_kept}
        older = {digest for digest, at in known.items() if at < last_kept}
        return older, tied if times[self.count] == last_kept else set()

    def _since(self, image: Image) -> datetime | None:
        if self.count_type == "sinceImageTransitioned":
            return image.archived_at
        if self.count_type == "sinceImagePulled":
            uses = [at for at in (image.pulled_at, image.activated_at) if at]
            return max(uses, default=image.pushed_at)
        # The time since which it is in its storage class orders images, and is their age.
        is_archived = image.storage == ARCHIVE
        moved_at = image.archived_at if is_archived else image.activated_at
        return moved_at or image.pushed_at


def read_policy(text: Any) -> list[Rule] | None:
    """Read a policy into rules by priority; None where any part of it is unknown here."""
    try:
        policy = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        return None
    raw = dig(policy, "rules")
    if not isinstance(raw, list) or not raw or set(policy) != {"rules"}:
        return None
    rules = [rule for rule in map(_read_rule, raw) if rule]
    if len({rule.priority for rule in rules}) != len(raw):
        return None
    rules.sort(key=lambda rule: rule.priority)
    # ECR takes one rule for untagged images, and one for any that comes last, per storage class.
    for storage in (STANDARD, ARCHIVE):
        kinds = [rule.tag_status for rule in rules if rule.storage == storage]
        if "any" in kinds[:-1] or kinds.count("untagged") > 1:
            return None
    return rules


def _read_rule(raw: Any) -> Rule | None:
    """Read one rule; None for a word, number or combination that ECR does not document."""
    selection = dig(raw, "selection")
    action = dig(raw, "action")
    if not isinstance(selection, dict):
        return None
    priority: Any = raw.get("rulePriority")
    status: Any = selection.get("tagStatus")
    storage: Any = selection.get("storageClass")
    storage = STANDARD if storage is None else storage
    count_type: Any = selection.get("countType")
    count: Any = selection.get("countNumber")
    is_age = count_type in _AGES
    is_known = (
        not set(raw) - _RULE_KEYS
        and not set(selection) - _SELECTION_KEYS
        and _is_count(priority)
        and _is_count(count)
        and status in ("tagged", "untagged", "any")
        and count_type in _COUNT_TYPES
        and storage in (STANDARD, ARCHIVE)
        and selection.get("countUnit") == ("days" if is_age else None)
        and (not is_age or count <= _DAYS_MAX)
        and (count_type != "sinceImageTransitioned" or storage == ARCHIVE)
        and (action == {"type": "expire"} or (storage, action) == (STANDARD, _ARCHIVING))
    )
    patterns = _read_patterns(selection, status) if is_known else None
    if patterns is None:
        return None
    expires = action["type"] == "expire"
    return Rule(priority, status, patterns, storage, count_type, count, expires)


def _is_count(value: Any) -> bool:
    return (int_of(value) or 0) > 0


def _read_patterns(selection: Mapping[str, Any], status: str) -> tuple[Words, ...] | None:
    """Read the patterns of tags; None where the lists do not go with the tag status."""
    lists = {
        key: selection[key]
        for key in ("tagPatternList", "tagPrefixList")
        if selection.get(key)
    }
    if status != "tagged":
        return None if lists else ()
    if len(lists) != 1:
        return None
    ((key, words),) = lists.items()
    if not isinstance(words, list) or not all(isinstance(w, str) and w for w in words):
        return None
    if key == "tagPrefixList":
        return tuple((word, "") for word in words)
    if any(word.count("*") > _WILDCARDS_MAX for word in words):
        return None
    return tuple(tuple(word.split("*")) for word in words)


def is_like(tag: str, parts: Sequence[str]) -> bool:
    """Return whether a tag fits a pattern, given as the parts between its stars."""
    # No regular expression: tags and patterns come from others, and could make one slow.
    if len(parts) == 1:
        return tag == parts[0]
    first, *between, last = parts
    at = len(first)
    for part in between:  # each as far to the left as it goes
        place = tag.find(part, at)
        if place < 0:
            return False
        at = place + len(part)
    return tag.startswith(first) and tag.endswith(last) and len(tag) - len(last) >= at


def would_expire(
    rules: Sequence[Rule], images: Sequence[Image], children: Children, now: datetime
) -> Fates:
    """Return by image whether the policy would expire it; None if undecided."""
    fates = _apply(rules, images, now)
    if None in children.values():  # an unread index may refer to any untagged image
        for image in images:
            if fates[image.digest] and not image.tags and image.digest not in children:
                fates[image.digest] = None
    _keep_children(fates, children)
    subjects = {image.digest: image.subject for image in images}
    roots: Texts = {}
    for digest in subjects:
        root = _root(digest, subjects, roots)
        if root == digest:
            continue
        # ECR removes with an image what refers to it. It does not document whether the
        # reference may go before, so a reference that a rule selects stays open.
        if fates[root] is not False:
            fates[digest] = fates[root]
        elif fates[digest]:
            fates[digest] = None
    return fates


def _apply(rules: Sequence[Rule], images: Sequence[Image], now: datetime) -> Fates:
    """Apply rules by priority: the first rule that matches an image decides."""
    fates: Fates = {i.digest: None if i.storage is None else False for i in images}
    taken: set[str] = set()
    for rule in rules:
        selected = [image for image in images if rule.matches(image)]
        marked, unknown = rule.split(selected, now)
        digests = {image.digest for image in selected}
        for digest in digests - taken:
            if digest in unknown and rule.expires:
                fates[digest] = None
            elif digest in marked:
                fates[digest] = rule.expires
        taken |= digests
    return fates


def _keep_children(fates: Fates, children: Children) -> None:
    """Keep the children of an index as long as the index stays; this only saves images."""
    waiting = [digest for digest in children if digest in fates]
    while waiting:
        index = waiting.pop()
        for child in children[index] or ():
            if child in fates and _SAFETY[fates[index]] > _SAFETY[fates[child]]:
                fates[child] = fates[index]
                if child in children:
                    waiting.append(child)


def _root(digest: str, subjects: Mapping[str, str | None], roots: Texts) -> str:
    """Follow references to the image they end at; the image itself where it is no reference."""
    path: dict[str, None] = {}
    at = digest
    while at not in roots and at not in path:
        path[at] = None
        subject = subjects[at]
        if subject is None or subject not in subjects:
            break
        at = subject
    root = roots.get(at, at)
    roots |= dict.fromkeys(path, root)
    return root
