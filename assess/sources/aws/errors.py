"""What can go wrong with a call of AWS, in the words of coverage."""

from __future__ import annotations

import re

from assess.sources.base import HINTS, Row, failure, status_of

_DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "AuthFailure",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "SubscriptionRequiredException",
    "OptInRequired",
    "SignatureDoesNotMatch",
}
_EXPIRED = {
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "TokenRefreshRequired",
    "UnauthorizedSSOTokenError",
    "SSOTokenLoadError",
    "TokenRetrievalError",
    "LoginRefreshRequired",
}
_NO_CREDENTIALS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "ProfileNotFound",
    "NoAuthTokenError",
    "InfiniteLoopConfigError",
    "ConfigParseError",
}
_THROTTLED = re.compile(
    r"[Tt]hrottl|RequestLimitExceeded|TooManyRequests|SlowDown|LimitExceeded$"
)
REFUSED = {
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "403",
}  # this call
_SCP = re.compile(r"service control policy", re.IGNORECASE)
_IAM_PREFIX = {"elb": "elasticloadbalancing", "elbv2": "elasticloadbalancing"}


class ForeignAnswerError(ValueError):
    """An answer without what it should list, such as a web page."""


def aws_failure(error: Exception, service: str, call: str) -> Row:
    """Put an error of the SDK into a coverage row; its message, which names people, stays out."""
    response = getattr(error, "response", None)
    response = response if isinstance(response, dict) else {}
    code = str(response.get("Error", {}).get("Code") or type(error).__name__)
    http = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    row: Row = {"status": "unreachable", "error_class": code}
    if code in _EXPIRED:
        return row | {
            "status": "denied",
            "hint": "the credentials have expired: log in again",
        }
    if code in _NO_CREDENTIALS:
        hint = "no usable credentials: name a profile that exists, or log in"
        return row | {"status": "denied", "hint": hint}
    if _THROTTLED.search(code) or http == 429:
        return row | {"status": "throttled", "hint": HINTS["throttled"]}
    if code in _DENIED or http in (401, 403):
        return row | {"status": "denied", "hint": _denial(response, code, service, call)}
    if code == "NoRegionError":
        return row | {"hint": "name the regions, such as regions = ['eu-west-1']"}
    if http in (404, 501) or code in ("UnknownOperationException", "InvalidAction"):
        return row | {"status": "unsupported", "hint": HINTS["unsupported"]}
    if isinstance(http, int) and http >= 500:
        return row | {"hint": "AWS is unavailable: run again later"}
    if isinstance(http, int):
        return row | {
            "status": "unsupported",
            "hint": f"AWS does not take this call: {code}",
        }
    if code in ("ResponseParserError", "ForeignAnswerError"):
        hint = (
            "the answer is not that of AWS: look for a login page or a proxy in between"
        )
        return row | {"status": "parse_error", "hint": hint}
    status = status_of(error)
    return failure(error) | {
        "status": status,
        "error_class": code,
        "hint": HINTS.get(status),
    }


def _denial(response: Row, code: str, service: str, call: str) -> str:
    """Say what to do about a denial; that of an organisation cannot be mended in the account."""
    action = action_of(service, call)
    if _SCP.search(str(response.get("Error", {}).get("Message"))):
        return f"a service control policy of the organisation denies {action}"
    if code in REFUSED:
        return f"allow {action}; `assess sources aws --policy` prints the policy"
    return "AWS does not take these credentials here: check them, and that the region is enabled"


def action_of(service: str, call: str) -> str:
    """Give the IAM action that a call needs, such as ``ec2:DescribeInstances``."""
    verb = "".join(word.title() for word in call.split("_"))
    return f"{_IAM_PREFIX.get(service, service)}:{verb}"
