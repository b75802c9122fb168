"""Real engines for the tests below this directory; see `engines.py` and `application.py`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import application
import engines as real
import pytest
import registries

STARTED = ExitStack()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """Stop the engines after the last test here.

    Their containers with health checks would slow all tests that follow in the session.
    """
    if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
        STARTED.close()


# half a minute of the whole road: `.ci/run` walks it once, on the wheel that users install
collect_ignore = ["test_first_hour.py"]  # unless it is named


@pytest.fixture(scope="session")
def engines() -> Iterator[list[real.Engine]]:
    """Two engines of different versions, each filled with the application."""
    with STARTED as stack:
        try:
            directories = real.engine_directories()
            # short: a socket path has 107 bytes
            base = Path(tempfile.mkdtemp(prefix="assess-"))
            stack.callback(shutil.rmtree, base, ignore_errors=True)
            started = []
            for number, directory in enumerate(directories):
                started.append(real.start(directory, base / f"h{number}"))
            stack.callback(_stop, started)
            for engine in started:
                real.wait(engine)
        except real.NoEngineError as error:
            if os.environ.get("CI"):
                pytest.fail(f"no real engines: {error}")
            pytest.skip(f"no real engines: {error}")
        with ThreadPoolExecutor(len(started)) as pool:
            list(pool.map(lambda e: application.fill(e.endpoint), started))
        yield started


def _stop(started: list[real.Engine]) -> None:
    with ThreadPoolExecutor(len(started) or 1) as pool:
        list(pool.map(lambda e: e.stop(), started))


@pytest.fixture(scope="session")
def engine(engines: list[real.Engine]) -> real.Engine:
    """The newer of the engines."""
    return engines[-1]


@pytest.fixture(scope="session")
def registry(tmp_path_factory) -> Iterator[registries.Registry]:
    """A registry that holds images of every kind."""
    with ExitStack() as stack:
        try:
            started = stack.enter_context(
                registries.running(tmp_path_factory.mktemp("registry"))
            )
        except registries.NoRegistryError as error:
            if os.environ.get("CI"):
                pytest.fail(f"no real registry: {error}")
            pytest.skip(f"no real registry: {error}")
        registries.fill(started, tmp_path_factory.mktemp("layouts") / "shop")
        yield started
