"""`assess serve`: it prints an address, answers there, and ends on an interrupt."""

import signal
import subprocess
import sys
import urllib.request


def test_it_shows_a_directory_until_interrupted(tmp_path):
    (tmp_path / "index.html").write_text("<h1>Here</h1>")
    command = [sys.executable, "-m", "assess", "serve", str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        address = running.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=30) as answer:
            assert answer.read() == b"<h1>Here</h1>"
        running.send_signal(signal.SIGINT)
        try:
            _, told = running.communicate(timeout=60)
        finally:
            running.kill()  # where it ignores the signal
    assert running.returncode == 130
    assert "Traceback" not in told


def test_a_port_that_is_taken_is_told(call, tmp_path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = call("serve", str(tmp_path), "--port", port, code=1)
    assert f"cannot listen on port {port}" in result.output
