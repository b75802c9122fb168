"""The group: help, exit codes, messages, and what it does not import."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from assess.cli import VERBS, cli

NAMES = [row["verb"] for row in VERBS]
HEAVY = [
    "pandas",
    "numpy",
    "docker",
    "boto3",
    "requests",
    "matplotlib",
    "scipy",
    "nbformat",
    "jinja2",
]


def commands():
    """Every command with its words, those of groups too."""
    context = click.Context(cli)
    for name in NAMES:
        command = cli.get_command(context, name)
        yield [name], command
        for inner in getattr(command, "commands", {}).values():
            yield [name, inner.name], inner


def test_help_names_every_verb_by_section(call):
    shown = call("--help").stdout
    for row in VERBS:
        assert shown.count(f"\n{row['section']}:\n") == 1
        words = [row["verb"], *row["help"].split()]
        assert any(line.split() == words for line in shown.splitlines())


@pytest.mark.parametrize("words", [words for words, _ in commands()], ids=" ".join)
def test_every_command_has_help(call, words):
    for flag in ("-h", "--help"):
        shown = call(*words, flag).stdout
        assert shown.startswith(f"Usage: assess {' '.join(words)}")
        assert len(shown.splitlines()) > 8


@pytest.mark.parametrize(
    "command", [c for _, c in commands() if not isinstance(c, click.Group)]
)
def test_every_command_shows_an_example_that_its_options_admit(command):
    assert command.examples
    for example in command.examples:
        words = example.replace("'", "").split()
        assert words[0] == "assess"
        assert command.name in words[1:3]
        options = {option for p in command.params for option in p.opts}
        assert {word for word in words if word.startswith("-")} <= options


def test_every_option_of_every_command_is_explained():
    for words, command in commands():
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, f"{words} {option.opts}"


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom assess.cli import cli\n"
        "try: cli(['--help'], prog_name='assess')\nexcept SystemExit: pass\n"
        f"print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("words", [words for words, _ in commands()], ids=" ".join)
def test_the_help_of_a_verb_imports_nothing_heavy_either(words):
    code = (
        "import sys\nfrom assess.cli import cli\n"
        f"try: cli([*{words}, '--help'], prog_name='assess')\nexcept SystemExit: pass\n"
        f"print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"


def test_version(process):
    import assess

    done = process("--version")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        f"assess {assess.__version__}\n",
        "",
    )


def test_an_unknown_verb_is_a_usage_error_that_names_the_nearest(process):
    done = process("scroe")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'score'?" in done.stderr
    assert done.stderr.startswith("error: ")
    assert "hint: see `assess --help`" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["show"], ["show", "x", "--nothing"], ["score", "x", "luck"], ["check", "x"]],
)
def test_usage_errors_exit_with_2_and_no_traceback(call, arguments):
    result = call(*arguments, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "\nhint: see `assess" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("nearest", "arguments"),
    [
        ("readiness", ["score", "sample", "readines"]),
        ("blast-radius", ["score", "sample", "blast_radius"]),
        ("workloads", ["show", "sample", "workload"]),
        ("host_id", ["show", "sample", "hosts", "--columns", "hst_id"]),
        ("workloads", ["frames", "workload"]),
        ("docker", ["sources", "dokcer"]),
        ("results", ["report", "sample", "--appendix", "result"]),
    ],
)
def test_a_word_that_is_nearly_right_is_corrected(call, nearest, arguments):
    assert f"did you mean {nearest!r}?" in call(*arguments, code=2).stderr


@pytest.mark.parametrize(
    "given", ["score what-next", "score what-next sample", "explain web", "check"]
)
def test_where_an_argument_is_wrong_the_hint_has_their_order(call, given):
    command = given.split()[0]
    hint = call(*given.split(), code=2).stderr.splitlines()[-1]
    assert f"Usage: assess {command} [OPTIONS] SNAPSHOT" in hint


def test_an_error_exits_with_1_and_says_what_to_do(process):
    done = process("show", "nowhere")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: there is no snapshot at nowhere\nhint: make one with `assess collect`, "
        "or take the invented `sample`\n"
    )


def test_debug_shows_the_traceback(process):
    for arguments in (["--debug", "show", "nowhere"], ["show", "nowhere", "--debug"]):
        done = process(*arguments)
        assert done.returncode == 1
        assert "Traceback (most recent call last)" in done.stderr
        assert "error: there is no snapshot at nowhere" in done.stderr


def test_a_file_that_cannot_be_written_is_an_error_not_a_traceback(
    call, sample, tmp_path
):
    (tmp_path / "taken").write_text("a file where a directory is needed")
    result = call("show", sample, "-o", "taken/out.csv", code=1)
    assert result.stderr.startswith("error: taken/out.csv cannot be written: ")


@pytest.mark.parametrize("arguments", ["--help", "--version", "show --help", "policy"])
def test_output_that_cannot_be_written_is_an_error_not_a_traceback(arguments):
    command = [sys.executable, "-m", "assess", *arguments.split()]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith(b"error: system: No space left on device\n")
    assert b"Traceback" not in done.stderr


def test_quiet_leaves_errors_only(process, sample):
    assert process("validate", sample).stderr == f"{sample} is valid\n"
    assert process("-q", "validate", sample).stderr == ""
    assert process("validate", sample, "-q").stderr == ""
    assert process("show", "nowhere", "-q").stderr.startswith("error: ")


def test_warnings_are_worded_like_messages(process, tmp_path):
    (tmp_path / "services.csv").write_text("service_id,colour\nbilling,red\n")
    (tmp_path / "snapshot.toml").write_text('snapshot_at = "2026-09-30T00:00:00Z"\n')
    done = process("show", ".", "services", "--columns", "service_id")
    assert (done.returncode, done.stdout) == (0, "service_id\nbilling\n")
    assert (
        done.stderr == "warning: ./services: unknown columns are kept aside: 'colour'\n"
    )
    assert process("-q", "show", ".", "services").stderr == ""


def test_a_reader_that_has_read_enough_is_no_error(process, sample):
    done = process(
        "show",
        sample,
        "images",
        "--format",
        "csv",
        shell='| head -n 1; echo "${PIPESTATUS[0]}"',
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("registry,")
    assert lines[1] == "0"
    assert done.stderr == ""


def test_a_closed_stdout_does_not_hide_a_broken_limit(process, sample):
    done = process(
        "check", sample, "--min-readiness", "100", shell='| true; echo "${PIPESTATUS[0]}"'
    )
    assert done.stdout == "3\n"


def on_a_terminal(arguments, directory, **environment):
    """Run with a terminal as stderr, and give what was written to it."""
    ours, theirs = pty.openpty()
    clean = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    subprocess.run(
        [sys.executable, "-m", "assess", *arguments],
        cwd=directory,
        stderr=theirs,
        stdout=subprocess.DEVNULL,
        env={**clean, **environment},
        check=False,
        timeout=60,
    )
    os.close(theirs)
    written = os.read(ours, 65536).decode()
    os.close(ours)
    return written


def test_colour_only_on_a_terminal_and_never_with_no_color(tmp_path, process):
    assert "\x1b[" in on_a_terminal(["show", "nowhere"], tmp_path)
    assert "\x1b[" not in on_a_terminal(["show", "nowhere"], tmp_path, NO_COLOR="1")
    assert "\x1b[" not in process("show", "nowhere").stderr


def test_an_interrupt_exits_with_130(tmp_path):
    pipe = tmp_path / "services.csv"
    os.mkfifo(pipe)
    (tmp_path / "snapshot.toml").write_text('snapshot_at = "2026-09-30T00:00:00Z"\n')
    started = subprocess.Popen(
        [sys.executable, "-m", "assess", "show", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # opens once assess reads at the other end, and waits for what never comes
    with pipe.open("w"):
        started.send_signal(signal.SIGINT)
        out, error = started.communicate(timeout=30)
    assert (started.returncode, out) == (130, "")
    assert error.strip() == "error: interrupted"


def test_options_come_from_the_environment_too(call, sample):
    as_json = call("show", sample, "--json").stdout
    assert call("show", sample, ASSESS_FORMAT="json").stdout == as_json
    assert call("show", sample, ASSESS_SHOW_FORMAT="json").stdout == as_json
    flagged = call("show", sample, "--format", "csv", ASSESS_FORMAT="json").stdout
    assert flagged.startswith("frame,rows")


def test_bash_completes_verbs_and_asks_for_directories(process):
    words = {
        "_ASSESS_COMPLETE": "bash_complete",
        "COMP_WORDS": "assess sc",
        "COMP_CWORD": "1",
    }
    assert process(**words).stdout == "plain,score\n"
    words = {
        "_ASSESS_COMPLETE": "bash_complete",
        "COMP_WORDS": "assess show d",
        "COMP_CWORD": "2",
    }
    assert process(**words).stdout == "dir,d\n"
    assert "complete" in process(_ASSESS_COMPLETE="bash_source").stdout
