"""Serve a directory of reports to browsers on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from assess.cli.command import Command
from assess.cli.messages import note
from assess.errors import AssessError


@click.command(
    cls=Command, examples=["assess serve", "assess serve reports/2026Q3 --port 8080"]
)
@click.argument(
    "directory",
    default="reports",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option(
    "--port", default=0, type=click.IntRange(0, 65535), help="Port; 0 picks a free one."
)
def serve(directory: Path, *, port: int) -> None:
    """Serve DIRECTORY on the loopback address until interrupted, and print the address.

    The address contains a random token; requests without it are refused. Access is read-only, and
    files outside DIRECTORY or hidden in it cannot be read.
    """
    from assess.report.serving import Server

    try:
        server = Server(directory, port)
    except OSError as error:
        raise AssessError(
            f"cannot listen on port {port}: {error.strerror}",
            hint="leave out --port to use a free port",
        ) from error
    with server:
        click.echo(server.address)
        note(f"serving {directory} to this machine only; stop with Ctrl-C")
        server.serve_forever()
