"""Real Docker engines of two versions, started and stopped by the tests themselves."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "assess-engines"
OTHER_SUITE = "trixie"  # its engine is 26.1, the system's is 20.10 on Debian 12
START_SECONDS = 30
ENGINE_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class NoEngineError(RuntimeError):
    """Why no real engine can be had here."""


@dataclass
class Engine:
    """One running engine.

    Attributes
    ----------
    endpoint : str
        Its unix socket.
    version : str
        Its version, as ``dockerd --version`` says it.
    root : Path
        Its data, execution state, socket and log.
    tcp : str
        Its TCP endpoint with mutual TLS; empty without.
    tls : dict of str to str
        ``tls_ca``, ``tls_cert``, ``tls_key`` of a client.
    """

    endpoint: str
    version: str
    root: Path
    process: subprocess.Popen[bytes]
    tcp: str
    tls: dict[str, str]

    def stop(self) -> None:
        """Stop it, unmount what is left, remove its files."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        mounts = [
            line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()
        ]
        for mount in sorted(
            (m for m in mounts if m.startswith(f"{self.root}/")), reverse=True
        ):
            subprocess.run(["umount", "-l", mount], check=False, capture_output=True)
        shutil.rmtree(self.root, ignore_errors=True)


def engine_directories() -> list[Path | None]:
    """Give where the engines are: the system's (None), and one of another suite.

    Returns
    -------
    list of Path or None
        None for the system's engine, then the unpacked one.

    Raises
    ------
    NoEngineError
        With the reason why there is none.
    """
    if os.geteuid() != 0:
        raise NoEngineError("real engines need root")
    if not shutil.which("dockerd", path=ENGINE_PATH):
        raise NoEngineError("no dockerd: apt-get install docker.io")
    if not shutil.which("busybox"):
        raise NoEngineError("no busybox: apt-get install busybox-static")
    return [None, fetch(OTHER_SUITE)]


def fetch(suite: str) -> Path:
    """Unpack the engine of another Debian suite, once, from the mirror that this system uses.

    Parameters
    ----------
    suite : str
        Name of the suite.

    Returns
    -------
    Path
        Directory that holds ``usr/sbin/dockerd``.

    Raises
    ------
    NoEngineError
        Where it cannot be downloaded.
    """
    target = CACHE / suite
    if (target / "usr/sbin/dockerd").exists():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        try:
            _download(suite, Path(work))
        except (subprocess.CalledProcessError, OSError, IndexError) as error:
            said = getattr(error, "stderr", b"") or b""
            raise NoEngineError(
                f"no engine of {suite}: {error} {said.decode()[-300:]}"
            ) from error
        unpacked = Path(work) / "root"
        try:
            unpacked.rename(target)
        except OSError:  # another run was quicker
            if not target.exists():
                raise
    return target


def _download(suite: str, work: Path) -> None:
    uris = _run("apt-get", "indextargets", "--format", "$(REPO_URI)").split()
    mirror = sorted({u for u in uris if u.rstrip("/").endswith("/debian")})[0]
    for name in ("state/lists/partial", "cache/archives/partial", "root"):
        (work / name).mkdir(parents=True)
    (work / "status").touch()
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (work / "sources.list").write_text(f"deb [signed-by={keys}] {mirror} {suite} main\n")
    settings = {
        "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State": work / "state",
        "Dir::State::status": work / "status",
        "Dir::Cache": work / "cache",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",
    }
    (work / "apt.conf").write_text("".join(f'{k} "{v}";\n' for k, v in settings.items()))
    env = {**os.environ, "APT_CONFIG": str(work / "apt.conf")}
    _run("apt-get", "update", "-qq", env=env)
    _run("apt-get", "download", "-qq", "docker.io", "containerd", env=env, cwd=work)
    for package in sorted(work.glob("*.deb")):
        _run("dpkg", "-x", str(package), str(work / "root"))
    for name in ("usr/bin/runc", "usr/sbin/runc"):  # a newer one may want a newer libc
        (work / "root" / name).unlink(missing_ok=True)


def _run(
    *command: str, env: dict[str, str] | None = None, cwd: Path | None = None
) -> str:
    done = subprocess.run(
        command, env=env, cwd=cwd, check=True, capture_output=True, timeout=120
    )
    return done.stdout.decode()


def start(directory: Path | None, root: Path) -> Engine:
    """Start an engine; `wait` for it before it is used.

    Parameters
    ----------
    directory : Path or None
        Where it was unpacked; None is the system's.
    root : Path
        Directory for all that it writes.

    Returns
    -------
    Engine
        Starting.
    """
    root.mkdir(parents=True)
    tls = certificates(root)
    port = free_port()
    own = f"{directory}/usr/sbin:{directory}/usr/bin:" if directory else ""
    env = {**os.environ, "PATH": own + ENGINE_PATH}
    dockerd = shutil.which("dockerd", path=env["PATH"]) or "dockerd"
    command = [
        dockerd,
        "--data-root",
        root / "data",
        "--exec-root",
        root / "exec",
        "--pidfile",
        root / "pid",
        "--host",
        f"unix://{root}/sock",
        "--host",
        f"tcp://127.0.0.1:{port}",
        "--tlsverify",
        "--tlscacert",
        tls["tls_ca"],
        "--tlscert",
        root / "server.pem",
        "--tlskey",
        root / "server.key",
        "--bridge=none",
        "--iptables=false",
        "--ip6tables=false",
        "--ip-forward=false",
        "--storage-driver=overlay2",
        "--registry-mirror=https://mirror.example.com",
    ]
    version = _run(dockerd, "--version").split()[2].rstrip(",")
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            list(map(str, command)), env=env, stdout=log, stderr=log
        )
    endpoint, tcp = f"unix://{root}/sock", f"tcp://127.0.0.1:{port}"
    return Engine(endpoint, version, root, process, tcp, tls)


def wait(engine: Engine) -> None:
    """Wait until an engine answers.

    Parameters
    ----------
    engine : Engine
        The engine.

    Raises
    ------
    NoEngineError
        With the end of its log, where it ended or did not answer.
    """
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and engine.process.poll() is None:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(engine.root / "sock"))
                client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                if b"200 OK" in client.recv(100):
                    return
            except OSError:
                pass
        time.sleep(0.05)
    log = (engine.root / "log").read_text(errors="replace")[-600:]
    raise NoEngineError(f"engine {engine.version} did not start: {log}")


def free_port() -> int:
    """Give a port of the loopback that is free now.

    Returns
    -------
    int
        The port.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def certificates(root: Path) -> dict[str, str]:
    """Make an authority, a server certificate for the loopback and a client certificate.

    Parameters
    ----------
    root : Path
        Directory for the files.

    Returns
    -------
    dict of str to str
        ``tls_ca``, ``tls_cert``, ``tls_key`` of the client.
    """
    _new_certificate(root / "ca", "/CN=test-ca")
    for name, usage in (("server", "serverAuth"), ("client", "clientAuth")):
        sign(root, root / name, usage)
    names = {"tls_ca": "ca.pem", "tls_cert": "client.pem", "tls_key": "client.key"}
    return {option: f"{root}/{file}" for option, file in names.items()}


def sign(root: Path, file: Path, usage: str, days: int = 2) -> None:
    """Make a certificate for the loopback, signed by the authority in ``root``.

    Parameters
    ----------
    root : Path
        Directory with ``ca.pem`` and ``ca.key``.
    file : Path
        Certificate and key to write, without ``.pem`` and ``.key``.
    usage : str
        ``serverAuth`` or ``clientAuth``.
    days : int
        How long it is valid; a negative number makes one that has expired.
    """
    extensions = (
        f"extendedKeyUsage={usage}",
        "subjectAltName=IP:127.0.0.1",
        "basicConstraints=critical,CA:FALSE",
    )
    signer = ["-CA", f"{root}/ca.pem", "-CAkey", f"{root}/ca.key"]
    added = [word for extension in extensions for word in ("-addext", extension)]
    _new_certificate(file, f"/CN={file.name}", *signer, *added, days=days)


def _new_certificate(file: Path, subject: str, *more: str, days: int = 2) -> None:
    new = ["openssl", "req", "-x509", "-nodes", "-days", str(days), "-newkey", "ec"]
    curve = ["-pkeyopt", "ec_paramgen_curve:prime256v1"]
    files = ["-keyout", f"{file}.key", "-out", f"{file}.pem"]
    _run(*new, *curve, *files, "-subj", subject, *more)


def start_again(engine: Engine) -> None:
    """Start an engine that ended once more, on the same data, and wait for it.

    Parameters
    ----------
    engine : Engine
        The engine; its process is replaced.
    """
    program = Path(engine.process.args[0])
    own = f"{program.parent}:{program.parent.parent / 'bin'}:{ENGINE_PATH}"
    with (engine.root / "log").open("ab") as log:
        engine.process = subprocess.Popen(
            engine.process.args, env={**os.environ, "PATH": own}, stdout=log, stderr=log
        )
    wait(engine)
