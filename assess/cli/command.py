"""Shared by the commands: help with examples, common arguments and options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from assess.cli.messages import progress, verbosity

if TYPE_CHECKING:
    from assess.inventory import Inventory
    from assess.policy.policy import Policy
    from assess.score.upgrade_churn.history import History

PATIENCE = 1.0  # work that is done sooner shows no progress [s]


class Command(click.Command):
    """A command with examples in its help, and with ``-q -v --debug``.

    ``works`` marks a command that scores: it uses ``[work]`` of `assess.toml` and shows progress.
    """

    def __init__(
        self, *args: Any, examples: Sequence[str] = (), works: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples, self.works = tuple(examples), works
        self.params += verbosity()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options, also from ``ASSESS_<COMMAND>_<OPTION>``."""
        for option in self.params:
            if isinstance(option, click.Option):
                word = option.opts[-1].strip("-").replace("-", "_").upper()
                named = f"{ctx.auto_envvar_prefix}_{word}"
                if not isinstance(option.envvar, list):
                    wider = [option.envvar] if isinstance(option.envvar, str) else []
                    option.envvar = [named, *wider]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        if not self.works:
            return super().invoke(ctx)
        from assess.config import work_options
        from assess.execution import working

        with working(**work_options(), tell=progress(patience=PATIENCE)):
            return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        if self.examples:
            with formatter.section("Examples"):
                formatter.write("".join(f"  {example}\n" for example in self.examples))


class SnapshotType(click.ParamType[str]):
    """A directory of frames, or ``store@date``."""

    name = "snapshot"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete directories."""
        return [CompletionItem(incomplete, type="dir")]


SNAPSHOT = SnapshotType()
snapshot = click.argument("snapshot", type=SNAPSHOT)
policy_option = click.option(
    "--policy",
    "policy_file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="ASSESS_POLICY",
    show_envvar=True,
    help="Policy file; by default the built-in policy.",
)
previous_option = click.option(
    "--previous", type=SNAPSHOT, help="Earlier snapshot to compare with."
)
target_option = click.option(
    "--target",
    metavar="ENGINE",
    help="Engine version to move to, such as 29; overrides the policy.",
)


def read(text: str) -> Inventory:
    """Load a snapshot from a directory or ``store@date``."""
    from assess import inventory, store

    return inventory.load(store.resolve(text))


def read_history(text: str | Path, policy: Policy, *more: str | None) -> History:
    """Read the upgrades shown by all older snapshots in the same place, and by those in ``more``."""
    from assess import store
    from assess.score.upgrade_churn.history import upgrade_history

    others = [store.resolve(name) for name in more if name]
    return upgrade_history(store.earlier(store.resolve(text), *others), policy)


def read_policy(file: Path | None, *, target: str | None = None) -> Policy:
    """Load the policy, with the target of the command line."""
    from assess.policy.policy import load_policy

    policy = load_policy(file)
    return policy.replace(target={"engine": target}) if target else policy
