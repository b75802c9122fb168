"""Show a directory of reports to the browsers of this machine."""

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
    "--port", default=0, type=click.IntRange(0, 65535), help="Port; 0 takes a free one."
)
def serve(directory: Path, *, port: int) -> None:
    """Show DIRECTORY on the loopback address until interrupted; it prints the address.

    The address holds a random token: who does not know it sees nothing. Nothing can be written,
    and nothing outside of DIRECTORY or hidden in it can be read.
    """
    from assess.report.serving import Server

    try:
        server = Server(directory, port)
    except OSError as error:
        raise AssessError(
            f"port {port} cannot be listened on: {error.strerror}",
            hint="leave out --port",
        ) from error
    with server:
        click.echo(server.address)
        note(f"{directory} is shown to this machine only; Ctrl-C ends it")
        server.serve_forever()
