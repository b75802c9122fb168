"""Podman for real: its API as an endpoint, and what its own commands dump, say the same."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from assess import load_policy, reference, score_readiness
from assess.sources import collect
from assess.sources.catalogue import dump_script

pytestmark = pytest.mark.engine
# What only an API or only a dump tells, what differs by the moment of asking, and the words of
# Docker's API, which Podman answers with.
ONE_SIDED = {
    "hosts": ["state", "last_seen_at"],
    "engines": [
        *("api_version", "min_api_version", "logging_driver", "live_restore", "swarm"),
        *("mirrors_n", "insecure_registries_n", "warnings_n", "clock_skew_s"),
        "containers_total_n",
    ],
    "workloads": [
        *("log_driver", "cpu_p95", "cpu_peak", "memory_p95_bytes", "memory_peak_bytes"),
        "usage_window_hours",
    ],
    "images": ["arch", "used_at", "reclaimable"],
    "services": [],
}
CONTAINERS_CONF = """
[containers]
netns = "host"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{base}/tmp"
"""
STORAGE_CONF = """
[storage]
driver = "vfs"
runroot = "{base}/run"
graphroot = "{base}/data"
"""
IMAGE = "localhost/idle:1"
USER = 4242


class Podman:
    """A Podman with files of its own."""

    def __init__(self, base: Path, *before: str) -> None:
        self.base = base
        self.before = before  # what starts it, as another user
        self.socket = base / "podman.sock"
        self.env = dict(os.environ)
        for name, text in (("CONTAINERS", CONTAINERS_CONF), ("STORAGE", STORAGE_CONF)):
            file = base / f"{name.lower()}.conf"
            file.write_text(text.format(base=base))
        self.env["CONTAINERS_CONF"] = str(base / "containers.conf")
        self.env["CONTAINERS_STORAGE_CONF"] = str(base / "storage.conf")

    def __call__(self, *arguments: str, stdin: bytes | None = None) -> str:
        command = [*self.before, "podman", *arguments]
        done = subprocess.run(
            command, env=self.env, input=stdin, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def serve(self) -> subprocess.Popen[bytes]:
        """Start its API, and wait until it answers."""
        service = ["podman", "system", "service", "-t", "0", f"unix://{self.socket}"]
        command = [*self.before, *service]
        served = subprocess.Popen(command, env=self.env, stderr=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket(socket.AF_UNIX) as client:
                if client.connect_ex(str(self.socket)) == 0:
                    return served
            time.sleep(0.05)
        raise AssertionError("the API of Podman does not answer")


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    """Two containers, of which one is limited, and the API beside them."""
    missing = [name for name in ("podman", "busybox") if not shutil.which(name)]
    if missing or os.geteuid() != 0:
        reason = f"no real Podman: {missing or 'it needs root'}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    base = Path(tempfile.mkdtemp(prefix="assess-podman-"))
    (base / "root/bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), base / "root/bin/sleep")
    tar = subprocess.run(
        ["tar", "-C", base / "root", "-c", "."], capture_output=True, check=True
    )
    podman = Podman(base)
    podman("import", "-c", 'CMD ["/bin/sleep", "600"]', "-", IMAGE, stdin=tar.stdout)
    options = ("--memory", "64m", "--env", "LEDGER_URL=http://ledger:80", "--user", "9")
    podman("run", "-d", "--name", "web", "--label", "assess.service=web", *options, IMAGE)
    podman("run", "-d", "--name", "api", "--privileged=false", IMAGE)
    served = podman.serve()
    yield podman
    served.terminate()
    served.wait(10)
    podman("rm", "--all", "--force", "--time", "0")
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="module")
def rootless(podman) -> Iterator[Podman]:
    """Podman of a user without root's rights, with a container that was never started."""
    base = Path(tempfile.mkdtemp(prefix="assess-rootless-"))
    as_user = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")
    own = Podman(base, *as_user)
    own.env |= {"HOME": str(base), "XDG_RUNTIME_DIR": str(base / "run")}
    with (base / "storage.conf").open("a") as conf:
        # there is one user in its namespace, who owns all files
        conf.write('[storage.options.vfs]\nignore_chown_errors = "true"\n')
    (base / "run").mkdir(mode=0o700)
    for path in (base, *base.rglob("*")):
        os.chown(path, USER, USER)
    saved = podman("save", IMAGE, "--output", str(podman.base / "idle.tar"))
    assert saved is not None
    own("load", stdin=(podman.base / "idle.tar").read_bytes())
    own("create", "--name", "notes", IMAGE)
    served = own.serve()
    yield own
    served.terminate()
    served.wait(10)
    shutil.rmtree(base, ignore_errors=True)


def inventory_of(base: Path, text: str):
    file = base / "assess.toml"
    file.write_text(f"[[source]]\n{text}\n")
    return collect(file)


@pytest.fixture(scope="module")
def live(podman, tmp_path_factory):
    endpoint = f'type = "docker"\nendpoint = "unix://{podman.socket}"'
    return inventory_of(tmp_path_factory.mktemp("live"), endpoint)


@pytest.fixture(scope="module")
def dumped(podman, tmp_path_factory):
    base = tmp_path_factory.mktemp("dumped")
    script = ["sh", "-s", "--", str(base / "dumps")]
    subprocess.run(
        script, input=dump_script("podman").encode(), env=podman.env, check=True
    )
    stats = podman("stats", "--no-stream", "--format", "json")
    (base / "dumps/stats.json").write_text(stats)
    return inventory_of(base, 'type = "podman"\npath = "dumps"')


def test_its_api_is_that_of_podman(live):
    (engine,) = live["engines"].to_dict("records")
    assert (engine["runtime"], engine["rootless"]) == ("podman", False)
    web = live["workloads"].set_index("name").loc["web"]
    assert web["state"] == "running"
    assert (web["memory_limit_bytes"], web["user_root"]) == (64 << 20, False)
    assert set(live["coverage"]["status"]) <= {"ok", "empty", "partial"}


@pytest.mark.parametrize("frame", ONE_SIDED)
def test_dumps_say_what_the_api_says(live, dumped, frame):
    dropped = [*ONE_SIDED[frame], "source", "source_ref"]
    one, other = (found[frame].drop(columns=dropped) for found in (live, dumped))
    pd.testing.assert_frame_equal(one, other, check_dtype=False)


def test_its_own_info_on_the_same_socket_names_the_network_backend(live, dumped):
    for found in (live, dumped):
        assert found["engines"]["network_backend"].isin(["cni", "netavark"]).all()
    calls = live["coverage"].set_index("call")["status"]
    assert calls["libpod info"] == "ok"


def test_its_stats_are_use(dumped):
    used = dumped["workloads"].set_index("name")
    assert used["memory_p95_bytes"].between(1000, 64 << 20).all()
    assert used["usage_window_hours"].eq(0).all()
    assert used["cpu_p95"].notna().all()


def test_a_host_with_podman_gets_the_verdict_of_its_own_line(live):
    rows = score_readiness(live, load_policy()).to_dict()["rows"]
    (gate,) = (g for g in rows[0]["gates"] if g["gate"] == "G2")
    version = live["engines"]["version"].iloc[0]
    support = reference.product_support("podman", version, live.snapshot_at)
    assert support.line in version
    assert gate["state"] == "fail" or support.state != "ended"
    assert gate["state"] != "pass" or support.state == "supported"


def test_a_podman_without_rights_of_root_says_so(rootless, tmp_path):
    endpoint = f'type = "docker"\nendpoint = "unix://{rootless.socket}"'
    live = inventory_of(tmp_path, endpoint)
    assert live["engines"]["rootless"].tolist() == [True]
    assert live["engines"]["network_backend"].isin(["cni", "netavark"]).all()
    notes = live["workloads"].set_index("name").loc["notes"]
    assert notes["state"] == "created"
