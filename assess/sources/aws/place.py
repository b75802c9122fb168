"""A place: one region of one account, asked in the words of the API, whether live or from dumps."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from assess.sources.aws.errors import REFUSED, ForeignAnswerError, aws_failure
from assess.sources.base import Batch, Deadline, Row
from assess.sources.dumps import dicts, read_json

CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
ATTEMPTS = 8
ANSWERED = ("ok", "empty", "partial")

_CALL_NAME = re.compile(r"(?<![a-z])(?:batch-get|describe|get|list)-[a-z0-9-]+")
_SAME_NAME = {  # what calls of two services list, that are named alike
    "describe-images": ("Images", "imageDetails"),
    "describe-load-balancers": ("LoadBalancers", "LoadBalancerDescriptions"),
}
_ACCOUNT = re.compile(r"(?<!\d)\d{12}(?!\d)")
_REGION = re.compile(r"(?<![a-z])[a-z]{2}(?:-[a-z]+)+-\d(?!\d)")


class Place:
    """One region of one account; every call leaves one coverage row, however often it is asked."""

    def __init__(self, scope: str, deadline: Deadline, *, is_probe: bool = False) -> None:
        self.scope, self.deadline, self.is_probe = scope, deadline, is_probe
        self.account: str | None = None
        self.region = ""
        self.options: Row = {}  # of its source
        self.batch = Batch()
        self._rows: dict[str, Row] = {}
        self._sound: dict[str, list[bool]] = {}  # which of a call's answers were sound

    def ask(self, service: str, call: str, key: str, **params: Any) -> list[Row] | None:
        """Give the objects that a call lists under ``key``, over all pages.

        With an empty key, the answers themselves. None where nothing is known, such as after a
        denial; what came before an error is kept. Dumps answer the first time, whatever the
        parameters are, and with nothing after it.
        """
        raise NotImplementedError

    def ask_each(  # noqa: PLR0913
        self,
        service: str,
        call: str,
        key: str,
        name: str,
        values: Iterable[str],
        *,
        size: int | None = None,
        absent: str = "",
        **params: Any,
    ) -> list[Row] | None:
        """Ask a call for many values of the parameter ``name``, ``size`` at a time, as a list.

        Without a size, for one value at a time; its objects then carry the parameter, and
        where AWS answers with the error ``absent``, the parameter is all there is.
        """
        raise NotImplementedError

    def row(self, service: str, call: str) -> Row:
        """Give the coverage row of a call."""
        text = _text(service, call)
        if text not in self._rows:
            self._rows[text] = self.batch.cover(
                self.scope, text, "timeout", rows=0
            )  # until then
        return self._rows[text]

    def add(self, frame: str, *rows: Row) -> None:
        """Add rows of this place to a frame."""
        self.batch.add(frame, *({"source_ref": self.scope, **row} for row in rows))

    def _note(
        self, service: str, call: str, found: list[Row], failed: Row | None
    ) -> None:
        """Write what came of one more answer into the row of its call."""
        row, sound = (
            self.row(service, call),
            self._sound.setdefault(_text(service, call), []),
        )
        if found or not failed:
            sound.append(True)
        if failed:
            row |= {} if False in sound else failed
            sound.append(False)
        row["rows"] += len(found)
        if all(sound):
            row["status"] = "ok" if row["rows"] else "empty"
        elif any(sound):
            row["status"] = "partial"


class LivePlace(Place):
    """A place that is asked through the API."""

    def __init__(
        self,
        scope: str,
        deadline: Deadline,
        login: Any,
        region: str,
        *,
        is_probe: bool = False,
    ) -> None:
        super().__init__(scope, deadline, is_probe=is_probe)
        self._login, self.region = login, region
        self.clients: dict[str, Any] = {}  # by service

    def client(self, service: str) -> Any:
        """Give the client of a service; after the deadline it sends nothing more."""
        from botocore.config import Config

        if service not in self.clients:
            config = Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=max(1.0, min(READ_SECONDS, self.deadline.left)),
                retries={"max_attempts": ATTEMPTS, "mode": "adaptive"},
                user_agent_extra="assess",
            )
            made = self._login.client(service, self.region, config)
            made.meta.events.register("before-send", lambda **_: self.deadline.check())
            self.clients[service] = made
        return self.clients[service]

    def sign_in(self) -> bool:
        """Learn whose account it is; False where there is no use in asking any further."""
        for caller in self.ask("sts", "get_caller_identity", "") or ():
            self.account = str(caller.get("Account") or "") or None
        row = self.row("sts", "get_caller_identity")
        return row["status"] == "ok" or row.get("error_class") in REFUSED

    def ask(self, service: str, call: str, key: str, **params: Any) -> list[Row] | None:
        """Ask page by page; half a list and an error after it is half a list."""
        found, failed = self._ask(service, call, key, params)
        self._note(service, call, found, failed)
        return found if found or not failed else None

    def ask_each(  # noqa: PLR0913
        self,
        service: str,
        call: str,
        key: str,
        name: str,
        values: Iterable[str],
        *,
        size: int | None = None,
        absent: str = "",
        **params: Any,
    ) -> list[Row] | None:
        """Ask for some values at a time, until an answer shows that there is no use."""
        unique = list(dict.fromkeys(values))
        groups = [unique[n : n + (size or 1)] for n in range(0, len(unique), size or 1)]
        found: list[Row] = []
        has_answered = not groups
        for group in groups[:1] if self.is_probe else groups:
            own = {name: group if size else group[0]}
            items, failed = self._ask(service, call, key, {**params, **own})
            if failed and failed["error_class"] == absent:
                items, failed = [{}], None
            self._note(service, call, items, failed)
            has_answered |= bool(items) or not failed
            found += items if size else [{**own, **item} for item in items]
            if failed and (
                failed["error_class"] in REFUSED or failed["status"] == "timeout"
            ):
                break
        return found if has_answered else None

    def _ask(
        self, service: str, call: str, key: str, params: Row
    ) -> tuple[list[Row], Row | None]:
        """Make one call: the objects of its pages, and why there are no more."""
        row = self.row(service, call)
        found: list[Row] = []
        start = time.monotonic()
        try:
            for page in self._pages(service, call, params):
                _count(row, page)
                if key and key not in page:
                    raise ForeignAnswerError(f"there is no {key} in it")
                found += dicts(page[key]) if key else [page]
        except Exception as error:
            if isinstance(response := getattr(error, "response", None), dict):
                _count(row, response)
            return found, aws_failure(error, service, call)
        finally:
            row["seconds"] = round(row.get("seconds", 0.0) + time.monotonic() - start, 3)
        return found, None

    def _pages(self, service: str, call: str, params: Row) -> Iterator[Row]:
        """Give the pages of an answer; a probe reads only the first."""
        client = self.client(service)
        self.deadline.check()
        if not client.can_paginate(call):
            yield getattr(client, call)(**params)
            return
        for page in client.get_paginator(call).paginate(**params):
            yield page
            if self.is_probe:
                return
            self.deadline.check()


class DumpPlace(Place):
    """A place of which people handed over what ``aws SERVICE CALL`` printed."""

    def __init__(
        self, scope: str, deadline: Deadline, files: list[Path], *, is_probe: bool = False
    ) -> None:
        super().__init__(scope, deadline, is_probe=is_probe)
        self.files = files
        self.used: set[Path] = set()
        self._read: dict[Path, tuple[list[Any], Row]] = {}
        accounts, regions = _ACCOUNT.findall(scope), _REGION.findall(scope)
        self.account = accounts[-1] if accounts else None
        self.region = regions[-1] if regions else ""

    def ask(self, service: str, call: str, key: str, **_: Any) -> list[Row] | None:
        """Give what the files of a call list, once."""
        text, name = _text(service, call), call.replace("_", "-")
        if text in self._rows:
            return [] if self._rows[text]["status"] in ANSWERED else None
        row, found = self.row(service, call), []
        own = [(file, held) for file in self.files if (held := self._of(file, name, key))]
        for file, (documents, told) in own:
            items = [i for d in documents for i in (dicts(d[key]) if key else [d])]
            row["age_hours"] = max(told.get("age_hours", 0.0), row.get("age_hours", 0.0))
            failed = {
                column: value for column, value in told.items() if column != "age_hours"
            }
            if not documents and not failed:
                hint = f"{file.name} is not what `aws {text}` prints"
                failed = aws_failure(ForeignAnswerError(), service, call) | {"hint": hint}
            self._note(service, call, items, failed or None)
            found += items
        self.used |= {file for file, _ in own}
        if not own:
            hint = f"hand over {name}.json, the output of `aws {text}`"
            row |= {"status": "not_configured", "hint": hint}
        return found if row["status"] in ANSWERED else None

    def ask_each(  # noqa: PLR0913
        self,
        service: str,
        call: str,
        key: str,
        name: str,
        values: Iterable[str],
        *,
        size: int | None = None,
        absent: str = "",
        **params: Any,
    ) -> list[Row] | None:
        """Give what the files of a call list, whatever it was asked with, once."""
        return self.ask(service, call, key)

    def _of(self, file: Path, name: str, key: str) -> tuple[list[Row], Row] | None:
        """Give the answers to a call that a file holds; None for a file of another call.

        The name of the file says which, else what it holds.
        """
        says = _CALL_NAME.search(file.stem.lower().replace("_", "-"))
        if says and says[0] != name and not says[0].startswith(f"{name}-"):
            return None
        if file not in self._read:
            told: Row = {}
            self.deadline.check()
            self._read[file] = (read_json(file, told), told)
        values, told = self._read[file]
        documents = [d for d in dicts(values) if key in d or (says and not key)]
        others = [other for other in _SAME_NAME.get(name, ()) if other != key]
        is_other = any(other in d for d in dicts(values) for other in others)
        if not documents and (is_other or not says):
            return None
        return documents, told


def _text(service: str, call: str) -> str:
    """Write a call as the command line does."""
    return f"{service} {call.replace('_', '-')}"


def _count(row: Row, answer: Row) -> None:
    """Count a request and its repetitions."""
    about = answer.get("ResponseMetadata")
    retries = about.get("RetryAttempts", 0) if isinstance(about, dict) else 0
    row["requests"] = row.get("requests", 0) + 1 + retries
    if retries:
        row["retries"] = row.get("retries", 0) + retries
