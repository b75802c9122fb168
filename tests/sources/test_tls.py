"""Engines and servers over TLS, whose certificate is wrong in every way that there is."""

import datetime
import ipaddress
import socket
import ssl
import threading
from contextlib import contextmanager, suppress

import pytest

from assess.sources.base import Batch
from assess.sources.deadline import Deadline
from assess.sources.docker.source import DockerSource
from assess.sources.http import Web

x509 = pytest.importorskip("cryptography.x509")
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402

NOW = datetime.datetime.now(datetime.UTC)
# What is wrong: who signed it, for which address, valid from and until how many days from now.
WRONG = {
    "foreign": ("other", "127.0.0.1", -1, 1, "tls_ca did not sign"),
    "expired": ("ca", "127.0.0.1", -9, -1, "not valid today"),
    "not yet valid": ("ca", "127.0.0.1", 1, 9, "not valid today"),
    "of another address": ("ca", "127.0.0.9", -1, 1, "for another address"),
    "of nobody": ("server", "127.0.0.1", -1, 1, "tls_ca did not sign"),
}


def certificate(file, signer=None, address="127.0.0.1", start=-1, end=1):
    """Write a key and a certificate; one that nobody else signed is an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, file.name)])
    issuer, signing = signer or (subject, key)
    is_authority = signer is None
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + datetime.timedelta(days=start))
        .not_valid_after(NOW + datetime.timedelta(days=end))
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        .add_extension(names, critical=False)
        .sign(signing, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    file.with_suffix(".pem").write_bytes(made.public_bytes(pem))
    form = serialization.PrivateFormat.PKCS8
    file.with_suffix(".key").write_bytes(
        key.private_bytes(pem, form, serialization.NoEncryption())
    )
    return subject, key


@contextmanager
def serving(directory, mutual=None):
    """Shake hands with whoever comes; note what anybody says after that.

    ``mutual`` is the newest version of TLS of a server that wants a certificate of its clients.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem", directory / "server.key")
    if mutual:
        context.maximum_version = mutual
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(directory / "ca.pem")
    listener = socket.create_server(("127.0.0.1", 0))
    heard = []

    def serve():
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    shaken = context.wrap_socket(connection, server_side=True)
                    heard.append(shaken.recv(100))

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}", heard
    finally:
        listener.close()


@pytest.fixture(params=WRONG)
def server(request, tmp_path):
    """A server with a certificate that is wrong in one way, and the hint about it."""
    signer, address, start, end, hint = WRONG[request.param]
    authorities = {name: certificate(tmp_path / name) for name in ("ca", "other")}
    certificate(tmp_path / "server", authorities.get(signer), address, start, end)
    with serving(tmp_path) as (place, heard):
        yield place, hint
        assert not any(heard)  # neither a path nor a token


def test_an_engine_with_a_wrong_certificate_is_told_nothing(server, tmp_path):
    place, hint = server
    options = {"endpoint": f"tcp://{place}", "tls_ca": "ca.pem"}
    (row,) = DockerSource().collect(options, tmp_path, Deadline(10)).coverage
    assert row["status"] == "denied"
    assert hint in row["hint"]


def test_a_server_with_a_wrong_certificate_is_told_nothing(server, tmp_path):
    place, _ = server
    batch = Batch()
    headers = {"Authorization": "Bearer secret"}
    web = Web(f"https://{place}", Deadline(10), headers=headers, ca=tmp_path / "ca.pem")
    with web, batch.call(web.scope, "jobs") as call:
        call.take(web.json("jobs"))
    (row,) = batch.coverage
    assert row["status"] == "denied"
    assert "certificate" in row["hint"]


# Who signed the certificate of a client, from and until how many days from now, and the hint.
CLIENTS = {
    "expired": ("ca", -9, -1, "tls_cert has expired: renew it"),
    "foreign": ("other", -1, 1, "wants a client certificate that it trusts"),
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_certificate_of_ours_that_an_engine_refuses_is_one_row(
    client, version, tmp_path
):
    signer, start, end, hint = CLIENTS[client]
    authorities = {name: certificate(tmp_path / name) for name in ("ca", "other")}
    certificate(tmp_path / "server", authorities["ca"])
    certificate(tmp_path / "client", authorities[signer], start=start, end=end)
    options = {"tls_ca": "ca.pem", "tls_cert": "client.pem", "tls_key": "client.key"}
    with serving(tmp_path, mutual=version) as (place, heard):
        options |= {"endpoint": f"tcp://{place}"}
        (row,) = DockerSource().collect(options, tmp_path, Deadline(10)).coverage
    assert row["status"] == "denied"
    assert hint in row["hint"]
    assert not any(heard)
