"""A server of AWS that a file's tests share."""

import pytest
from aws_server import CREDENTIALS, serving


@pytest.fixture(scope="module")
def moto():
    """Address of moto's server; the environment holds credentials for it."""
    with pytest.MonkeyPatch.context() as patch, serving() as url:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        yield url
