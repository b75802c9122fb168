"""Reports that are built once for all tests of this room."""

import pytest
from fleets import HOSTILE, PLAIN, fleet

import assess


@pytest.fixture(scope="session")
def policy():
    return assess.load_policy().replace(simulation={"draws": 400})


@pytest.fixture(scope="session")
def hostile(policy):
    names = [*HOSTILE, *PLAIN]
    before = fleet([*HOSTILE[2:], *PLAIN, "gone"], at="2026-06-30")
    return assess.build_report(fleet(names), policy, previous=before)


@pytest.fixture(scope="session")
def plain(policy):
    return assess.build_report(fleet(PLAIN), policy)


@pytest.fixture(scope="session")
def page(hostile):
    return hostile.to_html()
