"""An ssh server on the loopback, through which one engine is reached."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import engines as real

SSHD = Path("/usr/sbin/sshd")


@contextmanager
def ssh_server(endpoint: str, home: Path) -> Iterator[str]:
    """Start a server whose logins see the engine as theirs.

    Parameters
    ----------
    endpoint : str
        Unix socket of the engine.
    home : Path
        Becomes the home of the client: its key, configuration and known hosts.

    Yields
    ------
    str
        ``ssh://`` endpoint.
    """
    directory = home / ".ssh"
    directory.mkdir(mode=0o700, parents=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "user"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(key, check=True)
    port = real.free_port()
    (directory / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {directory}/host\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {directory}/user.pub\nStrictModes no\n"
        f"PasswordAuthentication no\nSetEnv DOCKER_HOST={endpoint}\n"
    )
    (directory / "config").write_text(
        f"Host 127.0.0.1\n  IdentityFile {directory}/user\n"
    )
    host_key = (directory / "host.pub").read_text()
    (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
    server = subprocess.Popen(
        [SSHD, "-D", "-e", "-f", directory / "sshd_config"], stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(0.2)
        yield f"ssh://root@127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()
