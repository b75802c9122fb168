"""Nothing but collecting uses the network: not an import, not a score, not the report."""

import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parent.parent / "data" / "sample"
CUT = """
import sys

CALLS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")

def refuse(event, arguments):
    if event in CALLS:
        raise RuntimeError(f"{event}{arguments}")

sys.addaudithook(refuse)
"""
WORK = {
    "import": "import pkgutil, importlib, assess\n"
    "for module in pkgutil.walk_packages(assess.__path__, 'assess.'):\n"
    "    if not module.name.endswith('__main__'):\n"
    "        importlib.import_module(module.name)",
    "scores": """
import assess

now, before = assess.load("{sample}/2026Q3"), assess.load("{sample}/2026Q2")
policy = assess.load_policy()
assess.score_readiness(now, policy)
assess.score_blast_radius(now, policy)
assess.score_upgrade_churn(now, policy, previous=before)
assess.what_next(now, policy)
assess.judge_claims(now, policy)
assess.backtest(now, policy, previous=before)
""",
    "report": """
from assess.cli import main

sys.argv = ["assess", "report", "{sample}/2026Q3", "-o", "{out}"]
main()
""",
}


@pytest.mark.parametrize("work", WORK)
def test_it_works_with_the_network_cut(work, tmp_path):
    code = CUT + WORK[work].replace("{sample}", str(SAMPLE)).replace("{out}", "out")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_cut_is_felt():
    code = CUT + "import socket; socket.create_connection(('127.0.0.1', 9))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert b"RuntimeError: socket." in done.stderr
