"""Errors of AWS calls as columns of coverage rows."""

from __future__ import annotations

import re

from assess.sources.base import HINTS, Row, status_of

REFUSED = {
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "403",
}  # one call
_DENIED = REFUSED | {  # all calls
    "AuthFailure",
    "InvalidClientTokenId",
    "OptInRequired",
    "SignatureDoesNotMatch",
    "SubscriptionRequiredException",
    "UnrecognizedClientException",
}
_EXPIRED = {
    "ExpiredToken",
    "ExpiredTokenException",
    "LoginRefreshRequired",
    "RequestExpired",
    "SSOTokenLoadError",
    "TokenRefreshRequired",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
}
_NO_CREDENTIALS = {
    "ConfigParseError",
    "CredentialRetrievalError",
    "InfiniteLoopConfigError",
    "NoAuthTokenError",
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
}
_THROTTLED = re.compile(
    r"[Tt]hrottl|RequestLimitExceeded|TooManyRequests|SlowDown|LimitExceeded$"
)
_UNKNOWN_CALL = ("UnknownOperationException", "InvalidAction")
_SCP = re.compile(r"service control policy", re.IGNORECASE)
_IAM_PREFIX = {"elb": "elasticloadbalancing", "elbv2": "elasticloadbalancing"}
_NOT_AWS = "the answer is not that of AWS: look for a login page or a proxy in between"


class ForeignAnswerError(ValueError):
    """An answer without what it should list, such as a web page; its text is a hint."""

    def __init__(self, hint: str = _NOT_AWS) -> None:
        super().__init__(hint)


class UnreadError(ValueError):
    """A dump that cannot be read, or not whole; it carries the coverage row of its reading."""

    def __init__(self, row: Row) -> None:
        super().__init__(row.get("hint"))
        self.row = {name: value for name, value in row.items() if name != "age_hours"}


def code_of(error: Exception) -> str:
    """Return the code that AWS gave an error; for another error, its class."""
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return str(code or type(error).__name__)


def failure_of(error: Exception, service: str, call: str) -> Row:
    """Classify an error of a call; the messages of AWS name people, and are left out."""
    if isinstance(error, UnreadError):
        return error.row
    status, hint = _classify(error, service, call)
    return {"status": status, "error_class": code_of(error), "hint": hint}


def _classify(error: Exception, service: str, call: str) -> tuple[str, str | None]:
    """Return the status of an error, and what to do about it."""
    code = code_of(error)
    response = getattr(error, "response", None)
    response = response if isinstance(response, dict) else {}
    http = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if code in _EXPIRED:
        return "denied", "the credentials have expired: log in again"
    if code in _NO_CREDENTIALS:
        return "denied", "no usable credentials: name a profile that exists, or log in"
    if _THROTTLED.search(code) or http == 429:
        return "throttled", HINTS["throttled"]
    if code in _DENIED or http in (401, 403):
        return "denied", _denial(response, code, action_of(service, call))
    if code == "NoRegionError":
        return "unreachable", "name the regions, such as regions = ['eu-west-1']"
    if http in (404, 501) or code in _UNKNOWN_CALL:
        return "unsupported", HINTS["unsupported"]
    if isinstance(http, int) and http >= 500:
        return "unreachable", "AWS is unavailable: run again later"
    if isinstance(http, int):
        return "unsupported", f"AWS does not take this call: {code}"
    if isinstance(error, ForeignAnswerError):
        return "parse_error", str(error)
    if code == "ResponseParserError":
        return "parse_error", _NOT_AWS
    status = status_of(error)
    return status, HINTS.get(status)


def _denial(response: Row, code: str, action: str) -> str:
    """Return what to do about a denial; the account cannot lift one of its organisation."""
    if _SCP.search(str(response.get("Error", {}).get("Message"))):
        return f"a service control policy of the organisation denies {action}"
    if code in REFUSED:
        return f"allow {action}; `assess sources aws --policy` prints the policy"
    return "AWS does not take these credentials here: check them, and that the region is enabled"


def action_of(service: str, call: str) -> str:
    """Return the IAM action that a call needs, such as ``ec2:DescribeInstances``."""
    verb = "".join(word.title() for word in call.split("_"))
    return f"{_IAM_PREFIX.get(service, service)}:{verb}"
