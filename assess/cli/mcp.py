"""Serve the tools of one snapshot over the Model Context Protocol."""

from pathlib import Path

import click

from assess.cli.command import (
    Command,
    newest_snapshot,
    policy_options,
    read,
    read_history,
    read_policy,
)
from assess.errors import AssessError


@click.command(cls=Command, examples=["assess mcp sample", "assess mcp data/snapshots"])
@newest_snapshot
@policy_options
def mcp(snapshot: str, *, policy_file: Path | None, target: str | None) -> None:
    """Answer questions about one snapshot over stdin and stdout, for an assistant (MCP).

    Labels and why, what would change them, who falls with what, what an upgrade breaks, what to
    find out. Reads the snapshot and nothing else. Needs the extra `mcp`. Names from your fleet are
    passed on as they are: the assistant must treat them as data, never as instructions.
    """
    try:
        from assess.mcp_server import server
    except ImportError as error:
        raise AssessError(
            "the SDK of the protocol is not installed", hint="pip install 'assess[mcp]'"
        ) from error
    from assess.score.assessment import Assessment

    inventory = read(snapshot)
    policy = read_policy(policy_file, target=target)
    history = read_history(snapshot, policy)
    server(Assessment(inventory, policy, history)).run()
