"""What the verbs share: examples in their help, arguments and options that mean the same."""

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

PATIENCE = 1.0  # seconds before long work is worth a line


class Command(click.Command):
    """A verb: its help ends with examples, and it knows ``-q -v --debug``.

    Parameters
    ----------
    *args
        As click has them.
    examples : sequence of str
        Calls that work as they stand.
    works : bool, default False
        Whether it scores, which may take long: done as ``[work]`` of `assess.toml` says, and told
        on a terminal.
    **kwargs
        As click has them.
    """

    def __init__(
        self, *args: Any, examples: Sequence[str] = (), works: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples, self.works = tuple(examples), works
        self.params += verbosity()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options; each is also read from ``ASSESS_<VERB>_<OPTION>``.

        Parameters
        ----------
        ctx : Context
            The call.
        args : list of str
            What was written.

        Returns
        -------
        list of str
            What is left.
        """
        for option in self.params:
            if isinstance(option, click.Option):
                word = option.opts[-1].strip("-").replace("-", "_").upper()
                named = f"{ctx.auto_envvar_prefix}_{word}"
                if not isinstance(option.envvar, list):
                    wider = [option.envvar] if isinstance(option.envvar, str) else []
                    option.envvar = [named, *wider]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb.

        Parameters
        ----------
        ctx : Context
            The call.

        Returns
        -------
        object
            What the verb returns: nothing.
        """
        if not self.works:
            return super().invoke(ctx)
        from assess.config import work_options
        from assess.execution import working

        with working(**work_options(), tell=progress(patience=PATIENCE)):
            return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples.

        Parameters
        ----------
        ctx : Context
            The call.
        formatter : HelpFormatter
            Where to write.
        """
        if self.examples:
            with formatter.section("Examples"):
                formatter.write("".join(f"  {example}\n" for example in self.examples))


class SnapshotType(click.ParamType[str]):
    """A directory of frames, or ``store@date``."""

    name = "snapshot"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete directories.

        Parameters
        ----------
        ctx : Context
            The call.
        param : Parameter
            The argument.
        incomplete : str
            What was typed.

        Returns
        -------
        list of CompletionItem
            Asks the shell for directories.
        """
        return [CompletionItem(incomplete, type="dir")]


SNAPSHOT = SnapshotType()
snapshot = click.argument("snapshot", type=SNAPSHOT)
policy_option = click.option(
    "--policy",
    "policy_file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="ASSESS_POLICY",
    show_envvar=True,
    help="Policy file; the default policy where it is left out.",
)
previous_option = click.option(
    "--previous", type=SNAPSHOT, help="Earlier snapshot to compare with."
)
target_option = click.option(
    "--target",
    metavar="ENGINE",
    help="Engine version to move to, such as 29; tops the policy.",
)


def read(text: str) -> Inventory:
    """Load the snapshot that an argument names.

    Parameters
    ----------
    text : str
        A directory, or ``store@date``.

    Returns
    -------
    Inventory
        Its frames.
    """
    from assess import inventory, store

    return inventory.load(store.resolve(text))


def read_history(text: str | Path, policy: Policy, *more: str | None) -> History:
    """Read what the snapshots before one tell of upgrades.

    Parameters
    ----------
    text : str or Path
        A snapshot: the older ones beside it are its history.
    policy : Policy
        The policy in force.
    *more : str, optional
        Further snapshots of that history, which may lie elsewhere.

    Returns
    -------
    History
        Of all of them that are older, oldest first.
    """
    from assess import store
    from assess.score.upgrade_churn.history import upgrade_history

    others = [store.resolve(name) for name in more if name]
    return upgrade_history(store.earlier(store.resolve(text), *others), policy)


def read_policy(file: Path | None, *, target: str | None = None) -> Policy:
    """Load the policy that the options name.

    Parameters
    ----------
    file : Path, optional
        Policy file.
    target : str, optional
        Engine version to move to.

    Returns
    -------
    Policy
        Complete and checked.
    """
    from assess.policy.policy import load_policy

    policy = load_policy(file)
    return policy.replace(target={"engine": target}) if target else policy
