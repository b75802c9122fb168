"""Snapshots and dumps in S3: ``s3://bucket/prefix``, wherever a path is expected.

Objects are copied to a temporary directory and read there. Credentials come from the SDK's own
chain; ``AWS_ENDPOINT_URL_S3`` names another S3-compatible store.
"""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from assess.errors import AssessError

SCHEME = "s3://"
MANIFEST = "snapshot.toml"  # written last: what lacks it is half a snapshot


def is_s3(path: str | Path) -> bool:
    """Return whether a path is an address in S3."""
    return isinstance(path, str) and path.startswith(SCHEME)


def scratch() -> Path:
    """Return a new directory for copies, which is removed when the process ends."""
    root = Path(tempfile.mkdtemp(prefix="assess-s3-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root


@cache
def fetch(address: str) -> Path:
    """Copy all objects at or below an address, once a process, and return the local path."""
    bucket, prefix = _taken_apart(address)
    root = scratch()
    target = root / PurePosixPath(prefix).name if prefix else root / bucket
    client = _client()
    copied_n = 0
    try:
        for key in _keys(client, bucket, prefix):
            inside = PurePosixPath(key).relative_to(prefix or ".")
            file = target / inside
            # a key is any text: it must not write outside the temporary directory
            is_outside = ".." in inside.parts or not file.is_relative_to(target)
            if key.endswith("/") or is_outside:
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, key, str(file))
            copied_n += 1
    except Exception as error:
        raise _failure(address, "read", error) from error
    if not copied_n:
        raise AssessError(
            f"there is nothing at {address}", hint="list it with `aws s3 ls`"
        )
    return target


def push(directory: Path, address: str) -> str:
    """Copy a snapshot directory to an unused address; its manifest goes last."""
    bucket, prefix = _taken_apart(address)
    refuse_taken(address)
    client = _client()
    try:
        # False sorts before True: the manifest goes last
        for file in sorted(directory.iterdir(), key=lambda file: file.name == MANIFEST):
            key = str(PurePosixPath(prefix) / file.name)
            # of two writers, only one may complete a snapshot
            condition = {"IfNoneMatch": "*"} if file.name == MANIFEST else {}
            with file.open("rb") as body:
                client.put_object(Bucket=bucket, Key=key, Body=body, **condition)
    except Exception as error:
        raise _failure(address, "written", error) from error
    return address


def refuse_taken(address: str) -> None:
    """Raise if a snapshot would be overwritten."""
    bucket, prefix = _taken_apart(address)
    try:
        is_taken = next(iter(_keys(_client(), bucket, prefix)), None) is not None
    except Exception as error:
        raise _failure(address, "read", error) from error
    if is_taken:
        raise AssessError(
            f"{address} is there already, and a snapshot is never written over",
            hint="name another prefix",
        )


def _keys(client: Any, bucket: str, prefix: str) -> list[str]:
    """List the object of that name and all below it, but not other names with the same prefix."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [str(entry["Key"]) for page in pages for entry in page.get("Contents", ())]
    return [
        key for key in keys if not prefix or key == prefix or key.startswith(f"{prefix}/")
    ]


def _taken_apart(address: str) -> tuple[str, str]:
    bucket, _, prefix = address.removeprefix(SCHEME).partition("/")
    if not bucket:
        raise AssessError(f"{address} names no bucket", hint="write s3://bucket/prefix")
    return bucket, prefix.strip("/")


def _client() -> Any:
    import boto3
    from botocore.config import Config

    config = Config(connect_timeout=5, read_timeout=30, user_agent_extra="assess")
    return boto3.session.Session().client("s3", config=config)


def _failure(address: str, what: str, error: Exception) -> AssessError:
    """Return an error of the SDK without its message, which may name people."""
    if isinstance(error, AssessError):
        return error
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    reason = str(code or type(error).__name__)
    return AssessError(
        f"{address} cannot be {what}: {reason}",
        hint="s3:ListBucket and s3:GetObject read it, s3:PutObject writes it; log in as for `aws`",
    )
