"""A place is one region of one account: it answers calls of AWS, live or from dumps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from assess.sources.aws.errors import (
    REFUSED,
    ForeignAnswerError,
    UnreadError,
    code_of,
    failure_of,
)
from assess.sources.base import Batch, Call, Deadline, Row
from assess.sources.dumps import read_json
from assess.sources.values import dicts

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
ATTEMPTS = 8  # of one request; the SDK waits longer after each
ANSWERED = ("ok", "empty", "partial")

_CALL_NAME = re.compile(r"(?<![a-z])(?:batch-get|describe|get|list)-[a-z0-9-]+")
_SAME_NAME = {  # calls of two services with one name, by the keys that tell their answers apart
    "describe-images": ("Images", "imageDetails"),
    "describe-load-balancers": ("LoadBalancers", "LoadBalancerDescriptions"),
}
_ACCOUNT = re.compile(r"(?<!\d)\d{12}(?!\d)")
_REGION = re.compile(r"(?<![a-z])[a-z]{2}(?:-[a-z]+)+-\d(?!\d)")


class Place:
    """One region of one account; each call has one coverage row, however often it is asked."""

    def __init__(self, scope: str, deadline: Deadline, *, is_probe: bool = False) -> None:
        self.scope = scope
        self.deadline = deadline
        self.is_probe = is_probe
        self.account: str | None = None
        self.region = ""
        self.options: Row = {}  # of its source
        self.batch = Batch()
        self._calls: dict[str, Call] = {}

    def ask(
        self, service: str, call: str, key: str, *, absent: str = "", **params: Any
    ) -> list[Row] | None:
        """List the objects under ``key`` in all pages of an answer; the pages for an empty key.

        None where nothing is known, as after a denial; what came before an error is kept. The
        error code ``absent`` stands for one empty object. Dumps answer once, whatever the
        parameters are, and with nothing after that.
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

        Without a size it asks for one value at a time. The objects then carry the parameter,
        and where AWS answers with the error code ``absent``, they hold nothing else.
        """
        unique = list(dict.fromkeys(values))
        step = size or 1
        groups = [unique[start : start + step] for start in range(0, len(unique), step)]
        objects: list[Row] = []
        has_answer = not groups
        for group in groups[:1] if self.is_probe else groups:
            own = {name: group if size else group[0]}
            answer = self.ask(service, call, key, absent=absent, **params, **own)
            has_answer |= answer is not None
            objects += [item if size else {**own, **item} for item in answer or ()]
            # One denial or timeout is enough: the rest would fail too.
            failed = self.call(service, call).failed
            if failed in ("denied", "timeout"):
                break
        return objects if has_answer else None

    def call(self, service: str, name: str) -> Call:
        """Return the call with its coverage row, which a first use opens."""
        text = text_of_call(service, name)
        if text not in self._calls:
            classify = partial(failure_of, service=service, call=name)
            self._calls[text] = self.batch.call(self.scope, text, classify=classify)
            self._calls[text].count(rows=0)
        return self._calls[text]

    def row(self, service: str, call: str) -> Row:
        """Return the coverage row of a call."""
        return self.call(service, call).row

    def add(self, frame: str, *rows: Row) -> None:
        """Add rows of this place to a frame."""
        self.batch.add(frame, *({"source_ref": self.scope, **row} for row in rows))


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
        self.region = region
        self._login = login
        self._clients: dict[str, Any] = {}  # by service

    def sign_in(self) -> bool:
        """Read the account; False where no other call can succeed."""
        for caller in self.ask("sts", "get_caller_identity", "") or ():
            self.account = str(caller.get("Account") or "") or None
        row = self.row("sts", "get_caller_identity")
        return row["status"] == "ok" or row.get("error_class") in REFUSED

    def ask(
        self, service: str, call: str, key: str, *, absent: str = "", **params: Any
    ) -> list[Row] | None:
        """Ask page by page."""
        asked = self.call(service, call)
        objects: list[Row] = []
        with asked:
            try:
                for page in self._pages(service, call, params):
                    _count(asked, page)
                    if key and key not in page:
                        raise ForeignAnswerError
                    objects += asked.take([*dicts(page[key])] if key else [page])
            except Exception as error:
                if isinstance(response := getattr(error, "response", None), dict):
                    _count(asked, response)
                if code_of(error) != absent:
                    raise
                objects += asked.take([{}])
        return objects if objects or not asked.failed else None

    def _pages(self, service: str, call: str, params: Row) -> Iterator[Row]:
        """Ask for the pages of an answer; a probe reads only the first."""
        client = self._client(service)
        self.deadline.check()
        if not client.can_paginate(call):
            yield getattr(client, call)(**params)
            return
        for page in client.get_paginator(call).paginate(**params):
            yield page
            if self.is_probe:
                return
            self.deadline.check()

    def _client(self, service: str) -> Any:
        """Return the client of a service; after the deadline it sends nothing more."""
        from botocore.config import Config

        if service not in self._clients:
            config = Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=max(1.0, min(READ_SECONDS, self.deadline.left)),
                # adaptive: it slows down where AWS throttles, as others share the account's limit
                retries={"max_attempts": ATTEMPTS, "mode": "adaptive"},
                user_agent_extra="assess",
            )
            client = self._login.client(service, self.region, config)
            client.meta.events.register("before-send", lambda **_: self.deadline.check())
            self._clients[service] = client
        return self._clients[service]


class DumpPlace(Place):
    """A place of which people handed over what ``aws SERVICE CALL`` printed."""

    def __init__(
        self, scope: str, deadline: Deadline, files: list[Path], *, is_probe: bool = False
    ) -> None:
        super().__init__(scope, deadline, is_probe=is_probe)
        self.files = files
        self.used: set[Path] = set()
        self._contents: dict[
            Path, tuple[list[Any], Row]
        ] = {}  # with the row of its reading
        self.account = next(reversed(_ACCOUNT.findall(scope)), None)
        self.region = next(reversed(_REGION.findall(scope)), "")

    def ask(self, service: str, call: str, key: str, **_: Any) -> list[Row] | None:
        """List what the files of a call hold, once."""
        if text_of_call(service, call) in self._calls:
            return [] if self.call(service, call).has_answer else None
        asked = self.call(service, call)
        name = call.replace("_", "-")
        objects: list[Row] = []
        answers = [
            (f, answer) for f in self.files if (answer := self._read(f, name, key))
        ]
        for file, (documents, reading) in answers:
            self.used.add(file)
            age = max(reading.get("age_hours", 0.0), asked.row.get("age_hours", 0.0))
            asked.note(age_hours=age)
            with asked:
                for document in documents:
                    items = [*dicts(document[key])] if key else [document]
                    objects += asked.take(items)
                if "status" in reading:
                    raise UnreadError(reading)
                if not documents:
                    hint = f"{file.name} is not what `aws {asked.row['call']}` prints"
                    raise ForeignAnswerError(hint)
        if not answers:
            printed = f"hand over {name}.json, the output of `aws {asked.row['call']}`"
            asked.status("not_configured", printed)
        return objects if asked.has_answer else None

    def ask_each(
        self, service: str, call: str, key: str, *_: Any, **__: Any
    ) -> list[Row] | None:
        """List what the files of a call hold, whatever it was asked with, once."""
        return self.ask(service, call, key)

    def _read(self, file: Path, name: str, key: str) -> tuple[list[Row], Row] | None:
        """Read the answers to a call in a file; None for a file of another call.

        The name of the file tells the call, else the keys in it.
        """
        named = _CALL_NAME.search(file.stem.lower().replace("_", "-"))
        if named and named[0] != name and not named[0].startswith(f"{name}-"):
            return None
        if file not in self._contents:
            self.deadline.check()
            row: Row = {}
            self._contents[file] = (read_json(file, row), row)
        values, reading = self._contents[file]
        documents = [d for d in dicts(values) if key in d or (named and not key)]
        others = [other for other in _SAME_NAME.get(name, ()) if other != key]
        is_other = any(other in d for d in dicts(values) for other in others)
        if not documents and (is_other or not named):
            return None
        return documents, reading


def text_of_call(service: str, call: str) -> str:
    """Write a call as the command line does."""
    return f"{service} {call.replace('_', '-')}"


def _count(call: Call, answer: Row) -> None:
    """Count a request and the SDK's repeats of it."""
    metadata = answer.get("ResponseMetadata")
    retries = metadata.get("RetryAttempts", 0) if isinstance(metadata, dict) else 0
    call.count(requests=1 + retries)
    if retries:
        call.count(retries=retries)
