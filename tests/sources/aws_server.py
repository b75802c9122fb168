"""AWS for tests: moto's server on loopback, and clients whose answers are written down."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path

import boto3
from botocore.stub import Stubber

from assess.sources.aws import LivePlace
from assess.sources.deadline import Deadline

ACCOUNT, REGION = "210987654321", "eu-west-1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}


# Each region loads its images anew: with moto's own 1,291 that is most of the time of the tests.
os.environ["MOTO_AMIS_PATH"] = str(
    Path(__file__).parents[1] / "fixtures" / "moto_amis.json"
)


@contextmanager
def serving():
    """Serve until the block ends."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


class Script:
    """A login whose clients of one service give written answers, in order, to written questions."""

    def __init__(self, service: str) -> None:
        session = boto3.session.Session("testing", "testing", region_name=REGION)
        self.service, self.made = service, session.client(service)
        self.stub = Stubber(self.made)
        self.stub.activate()
        self.region = REGION

    def client(self, service, region, config):
        assert (service, region) == (self.service, REGION)
        return self.made

    def give(self, call, answer, **asked):
        """Write the answer to the next call, and what it has to be asked."""
        self.stub.add_response(call, answer, asked)

    def refuse(
        self, call, code="AccessDeniedException", status=403, message="User: arn is not"
    ):
        self.stub.add_client_error(call, code, message, http_status_code=status)

    def read(self, source, *, is_probe=False, **options) -> LivePlace:
        """Let a source read it; all that is written has to be asked."""
        place = LivePlace(f"shop/{REGION}", Deadline(20), self, REGION)
        place.options = options
        place.forms = source.forms
        place.is_probe = is_probe
        source.read(place)
        self.stub.assert_no_pending_responses()
        return place


class Answers:
    """A login whose clients of all services give written answers, else empty ones.

    They are real clients, so that parameters are checked and pages followed; nothing is sent.
    """

    region = REGION

    def __init__(self, always=None, message="User: arn:aws:iam::1:user/hunter2 may not"):
        self.session = boto3.session.Session("testing", "testing", region_name=REGION)
        self.always, self.message = always or {}, message
        self.given: dict[str, list] = {}  # by operation: answers, or codes of errors
        self.asked: dict[str, list] = {}  # by operation: parameters
        self.actions: set[str] = set()  # of IAM

    def give(self, operation, *answers):
        """Write the next answers of an operation, one each; a text is the code of an error."""
        self.given.setdefault(operation, []).extend(answers)

    def client(self, service, region, config):
        made = self.session.client(service, region_name=region, config=config)
        prefix = made.meta.service_model.signing_name

        def note(params, model, **_):
            self.asked.setdefault(model.name, []).append(dict(params))
            self.actions.add(f"{prefix}:{model.name}")

        def answer(model, **_):
            queue = self.given.get(model.name)
            found = queue.pop(0) if queue else self.always.get(model.name, {})
            code = 200
            if isinstance(found, str):
                code = 500 if found.startswith("Internal") else 400
                found = {"Error": {"Code": found, "Message": self.message}}
            else:
                members = model.output_shape.members
                found = {
                    n: [] for n, m in members.items() if m.type_name == "list"
                } | found
            about = {"HTTPStatusCode": code, "RetryAttempts": 0}
            return type("Http", (), {"status_code": code})(), found | {
                "ResponseMetadata": about
            }

        made.meta.events.register("before-parameter-build", note)
        made.meta.events.register("before-call", answer)
        return made

    def read(self, source, *, is_probe=False, **options):
        """Let a source read it, and give its batch."""
        place = LivePlace(f"shop/{REGION}", Deadline(20), self, REGION)
        place.options = options
        place.forms = source.forms
        place.is_probe = is_probe
        source.read(place)
        return place.batch
