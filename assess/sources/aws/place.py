"""A place is one region of one account: it answers calls of AWS, live or from dumps."""

import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from assess.sources.base import Batch, Call, Row, Rows
from assess.sources.csv_records import rows, vocabulary
from assess.sources.deadline import Deadline
from assess.sources.dumps import JSON_SUFFIXES, read_json
from assess.sources.failure import hint_of, status_of
from assess.sources.listing import lose
from assess.sources.values import Texts, dicts, dig, spoiled, table, text

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
ATTEMPTS = 8  # of one request; the SDK waits longer after each

_CALL_NAME = re.compile(r"(?<![a-z])(?:batch-get|describe|get|list)-[a-z0-9-]+")
# Calls of two services with one name, by the keys that tell their answers apart.
_SAME_NAME = vocabulary("aws", "calls of one name")
_WHOLE = vocabulary("aws", "keys of whole answers")
# Calls about objects that another call lists.
_LISTED_BY = vocabulary("aws", "calls about listed objects")
_READ = re.compile("|".join(vocabulary("aws", "calls that are read")))
_ACCOUNT = re.compile(r"(?<!\d)\d{12}(?!\d)")
_REGION = re.compile(r"(?<![a-z])[a-z]{2}(?:-[a-z]+){1,3}-\d(?!\d)")

# Statuses by codes of AWS, classes of errors of its SDK, and codes of HTTP; the first that fits.
_FAILURES = rows("aws/failures")
_SCP = re.compile(r"service control policy", re.IGNORECASE)
_IAM_PREFIX = {"elb": "elasticloadbalancing", "elbv2": "elasticloadbalancing"}


class ForeignAnswerError(ValueError):
    """An answer without the expected list, such as a web page; its text is a hint."""


class UnreadError(ValueError):
    """A dump that cannot be read, or not whole; it carries the coverage row of its reading."""

    def __init__(self, row: Row) -> None:
        super().__init__(row.get("hint"))
        self.row = {name: value for name, value in row.items() if name != "age_hours"}


class Place:
    """One region of one account; each call has one coverage row, however often it is asked."""

    def __init__(self, scope: str, deadline: Deadline) -> None:
        self.scope = scope
        self.deadline = deadline
        self.is_probe = False  # whether only first pages and first objects are asked for
        self.account: str | None = None
        self.region = ""
        self.options: Row = {}  # of its source
        self.forms: Texts = {}  # of lists in its answers: `spoiled`
        self.batch = Batch()
        self._calls: dict[str, Call] = {}

    def ask(
        self, service: str, call: str, key: str, *, absent: str = "", **params: Any
    ) -> Rows | None:
        """List the objects under ``key`` in all pages of an answer; the pages for an empty key."""
        # None where nothing is known, as after a denial; what came before an error is
        # kept. The error code ``absent`` stands for one empty object. Dumps answer once,
        # whatever the parameters are, and with nothing after that.
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
    ) -> Rows | None:
        """Ask a call for many values of the parameter ``name``, ``size`` at a time, as a list."""
        # Without a size it asks for one value at a time. The objects then carry the
        # parameter, and where AWS answers with the error code ``absent``, they hold
        # nothing else.
        unique = list(dict.fromkeys(values))
        step = size or 1
        groups = [unique[start : start + step] for start in range(0, len(unique), step)]
        objects = []
        has_answer = not groups
        for group in groups[:1] if self.is_probe else groups:
            asked = {name: group if size else group[0]}
            answer = self.ask(service, call, key, absent=absent, **params, **asked)
            has_answer |= answer is not None
            objects += [item if size else {**asked, **item} for item in answer or ()]
            # One denial or timeout is enough: the rest would fail too.
            if self.call(service, call).failed in ("denied", "timeout"):
                break
        return objects if has_answer else None

    def has_asked(self, service: str, name: str) -> bool:
        """Return whether a call was made, however it ended."""
        return written_call(service, name) in self._calls

    def skip_unlisted(self) -> None:
        """Cover the calls that were not made because the list of their objects failed."""
        for call, listing in _LISTED_BY.items():
            listed = self._calls.get(listing)
            if listed and not listed.has_answer and call not in self._calls:
                self.call(*call.split()).skip(listed.row)

    def call(self, service: str, name: str) -> Call:
        """Return the call with its coverage row, which a first use opens."""
        written = written_call(service, name)
        if written not in self._calls:
            classify = partial(failure_of, service=service, call=name)
            self._calls[written] = self.batch.call(self.scope, written, classify=classify)
            self._calls[written].count(rows=0)
        return self._calls[written]

    def _take(self, asked: Call, page: Row, key: str) -> Rows:
        """Take the objects of a page, and count what in it cannot be read."""
        lose(asked, spoiled(page, {key: "", **self.forms}))
        return asked.take(dicts(page, key) if key else [page])

    def add(self, batch: Batch) -> None:
        """Add the rows of a batch, with where they are from."""
        self.batch.merge(batch.at(self.scope))


class Login:
    """A session of one profile, which several threads may ask for clients."""

    def __init__(self, profile: str | None, endpoint_url: str | None) -> None:
        from boto3.session import Session

        self._session = Session(profile_name=profile)
        self._endpoint_url = endpoint_url
        self._lock = Lock()
        self.region: str | None = self._session.region_name

    def client(self, service: str, region: str, config: Any) -> Any:
        """Make a client."""
        with self._lock:  # boto3's sessions are not safe between threads; clients are
            return self._session.client(
                service,
                region_name=region,
                endpoint_url=self._endpoint_url,
                config=config,
            )


class LivePlace(Place):
    """A place that is asked through the API."""

    def __init__(self, scope: str, deadline: Deadline, login: Login, region: str) -> None:
        super().__init__(scope, deadline)
        self.region = region
        self._login = login
        self._clients: Row = {}  # by service

    def sign_in(self) -> bool:
        """Read the account; False where no other call can succeed."""
        for caller in self.ask("sts", "get_caller_identity", "") or ():
            self.account = text(caller, "Account") or None
        row = self.call("sts", "get_caller_identity").row
        is_refused = _fitting(text(row, "error_class")).get("denies") == "call"
        return row["status"] == "ok" or is_refused

    def ask(
        self, service: str, call: str, key: str, *, absent: str = "", **params: Any
    ) -> Rows | None:
        """Ask page by page."""
        asked = self.call(service, call)
        objects = []
        with asked:
            try:
                for page in self._pages(service, call, params):
                    _count(asked, page)
                    if key and key not in page:
                        raise ForeignAnswerError
                    objects += self._take(asked, page, key)
            except Exception as error:
                _count(asked, response_of(error))
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
    """A place that is read from dumps of ``aws SERVICE CALL``."""

    def __init__(self, scope: str, deadline: Deadline, files: list[Path]) -> None:
        super().__init__(scope, deadline)
        self.files = files
        self.used: set[Path] = set()
        self._contents: dict[Path, tuple[Rows, Row]] = {}  # with the row of its reading
        self.account = next(reversed(_ACCOUNT.findall(scope)), None)
        self.region = next(reversed(_REGION.findall(scope)), "")

    def ask(self, service: str, call: str, key: str, *_: Any, **__: Any) -> Rows | None:
        """List the objects in the files of a call, for any parameters; only the first time."""
        files = [] if self.has_asked(service, call) else self.files
        asked = self.call(service, call)
        name = call.replace("_", "-")
        objects = []
        answers = {f: found for f in files if (found := self._read(f, name, key))}
        for file, (documents, reading) in answers.items():
            self.used.add(file)
            age = max(reading.get("age_hours", 0.0), asked.row.get("age_hours", 0.0))
            asked.note(age_hours=age)
            with asked:
                for document in documents:
                    objects += self._take(asked, document, key)
                if "status" in reading:
                    raise UnreadError(reading)
                if not documents:
                    hint = f"{file.name} is not what `aws {asked.row['call']}` prints"
                    raise ForeignAnswerError(hint)
        if files and not answers:
            printed = f"hand over {name}.json, the output of `aws {asked.row['call']}`"
            asked.status("not_configured", printed)
        return objects if asked.has_answer else None

    ask_each = ask

    def skip_unlisted(self) -> None:
        """Cover the calls that were not made, and the files that none is known by."""
        super().skip_unlisted()
        left = [f.name for f in self.files if f not in self.used and not _named(f, _READ)]
        if left:
            hint = (
                f"not read, such as {left[0]}: of no call that is, by its name and keys"
            )
            self.batch.cover(
                self.scope, "files", "not_configured", hint=hint, expected=len(left)
            )

    def contents(self, file: Path) -> tuple[Rows, Row]:
        """Return the objects of a JSON file, and the columns of coverage about its reading."""
        if file not in self._contents:
            self.deadline.check()
            row: Row = {}
            self._contents[file] = (dicts(read_json(file, row)), row)
        return self._contents[file]

    def _read(self, file: Path, name: str, key: str) -> tuple[Rows, Row] | None:
        """Read the answers to a call in a file; None for a file of another call."""
        # The name of the file tells the call, else the keys in it.
        named = _named(file)
        is_other = named and not f"{named[0]}-".startswith(f"{name}-")
        if is_other or file.suffix.lower() not in JSON_SUFFIXES:
            return None
        values, reading = self.contents(file)
        shown = key or _WHOLE.get(name)
        documents = [d for d in values if shown in d or (named and not key)]
        others = {*_SAME_NAME.get(name, "").split()} - {key}
        is_other = any(others & d.keys() for d in values)
        if not documents and (is_other or not named):
            return None
        return documents, reading


def _named(file: Path, calls: re.Pattern[str] = _CALL_NAME) -> re.Match[str] | None:
    return calls.search(file.stem.lower().replace("_", "-"))


def written_call(service: str, call: str) -> str:
    """Write a call as the command line does."""
    return f"{service} {call.replace('_', '-')}"


def _count(call: Call, answer: Row) -> None:
    """Count a request and the SDK's retries; an error without a response does not count."""
    if not answer:
        return
    retries = dig(answer, "ResponseMetadata", "RetryAttempts") or 0
    call.count(requests=1 + retries)
    if retries:
        call.count(retries=retries)


def expect(call: Call, expected: int, hint: str) -> None:
    """Compare the rows of a call with the expected number."""
    rows = call.row["rows"]
    call.note(expected=expected, ratio=round(rows / expected, 4) if expected else 1.0)
    if call.outcome == "ok" and rows < expected:
        call.status("partial", call.row.get("hint", hint))


def response_of(error: Exception) -> Row:
    """Return the answer of AWS that an error carries; an empty one where it never answered."""
    return table(getattr(error, "response", None))


def code_of(error: Exception) -> str:
    """Return the code that AWS gave an error; for another error, its class."""
    return str(dig(response_of(error), "Error", "Code") or type(error).__name__)


def _fitting(code: str, http: Any = None) -> Texts:
    """Return what is known of a failure by its code, or by the code of HTTP."""
    for row in _FAILURES:
        if re.fullmatch(row["code"], code) or re.fullmatch(row["http"], str(http)):
            return row
    return {}


def failure_of(error: Exception, service: str, call: str) -> Row:
    """Classify an error of a call; the messages of AWS name people, and are left out."""
    if isinstance(error, UnreadError):
        return error.row
    code = code_of(error)
    answer = response_of(error)
    found = _fitting(code, dig(answer, "ResponseMetadata", "HTTPStatusCode"))
    status = found.get("status") or status_of(error)
    action = action_of(service, call)
    hint = found.get("hint", "").format(action=action, code=code)
    if isinstance(error, ForeignAnswerError):
        hint = str(error) or hint
    elif status == "denied" and _SCP.search(text(answer, "Error", "Message")):
        hint = f"a service control policy of the organisation denies {action}"
    return {"status": status, "error_class": code, "hint": hint or hint_of(error, status)}


def action_of(service: str, call: str) -> str:
    """Return the IAM action that a call needs, such as ``ec2:DescribeInstances``."""
    verb = "".join(word.title() for word in call.split("_"))
    return f"{_IAM_PREFIX.get(service, service)}:{verb}"
