"""Compose files that want too much: memory, time, or files that are not of their project."""

import os
import re
import resource
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_compose import read, workloads, written

from assess import frames
from assess.sources.compose import ComposeSource
from assess.sources.compose import project as limits
from assess.sources.compose.project import Limits, interpolate, read_env

MEMORY = 300 << 20
ONE = "services: {web: {image: x}}\n"


def doubling(lines: int) -> str:
    return "A0=xx\n" + "".join(f"A{n}=$A{n - 1}$A{n - 1}\n" for n in range(1, lines))


def aliases(lines: int, text: str = "x") -> str:
    items = [
        f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else text] * 10)}]\n"
        for n in range(lines)
    ]
    return "".join(items)


BOMBS = {
    "env-doubling": {".env": doubling(30), "compose.yaml": ONE},
    "env-quotes": {
        ".env": "A=" + "x" * 10**5 + '\nB="' + "$A" * 10**4 + '"\n',
        "compose.yaml": ONE,
    },
    "env-file": {
        "big.env": doubling(30),
        "compose.yaml": ONE[:-3] + ", env_file: big.env}}",
    },
    "variables": {
        ".env": "A=" + "x" * 10**6,
        "compose.yaml": ONE + "x-a: [" + "$A," * 10**4 + "]",
    },
    "defaults": {"compose.yaml": ONE + "x-a: " + "${A:-" * 10**5 + "}" * 10**5},
    "open-braces": {"compose.yaml": ONE + "x-a: " + "${A" * 10**5},
    "aliases": {"compose.yaml": aliases(9) + ONE},
    "aliases-of-text": {
        "compose.yaml": aliases(5, "$$" + "x" * 10**5) + ONE,
    },
    "deep-flow": {"compose.yaml": "[" * 10**6},
    "deep-block": {"compose.yaml": "- " * 10**6},
    "many-nodes": {"compose.yaml": ONE + "x-a: [" + "a," * 10**6 + "]"},
    "large-file": {"compose.yaml": ONE + "#" * (5 << 20)},
    "many-replicas": {
        "compose.yaml": "x-a: &a {image: x, scale: 1000}\nservices:\n"
        + "".join(f"  s{n}: *a\n" for n in range(1000)),
    },
    "many-mounts": {
        "compose.yaml": "services: {web: {image: x, scale: 1000, volumes: ["
        + ",".join(f"/d{n}" for n in range(1000))
        + "]}}",
    },
    "many-extends": {
        "compose.yaml": "services:\n  base: {image: x, environment: {"
        + ",".join(f"A{n}: x" for n in range(10**4))
        + "}}\n"
        + "".join(f"  s{n}: {{extends: base}}\n" for n in range(3000)),
    },
    "chain-of-extends": {
        "compose.yaml": "services:\n"
        + "".join(f"  s{n}: {{extends: s{n + 1}}}\n" for n in range(2000)),
    },
    "includes-that-double": {
        "compose.yaml": "include: [i1.yaml, i1.yaml]\n" + ONE,
        **{
            f"i{n}.yaml": f"include: [i{n + 1}.yaml, i{n + 1}.yaml]\n" + ONE
            for n in range(1, 40)
        },
    },
}
SCRIPT = """
import sys
from pathlib import Path
from assess.sources.deadline import Deadline
from assess.sources.compose import ComposeSource
batch = ComposeSource().collect({"path": "compose.yaml"}, Path(sys.argv[1]), Deadline(60))
assert batch.coverage
# ru_maxrss would be that of the process that started this one, where that is larger
print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]))
for row in batch.coverage:
    print(row["status"], row.get("hint"))
"""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_with_its_limit_in_little_memory_and_time(tmp_path, name):
    for file, text in BOMBS[name].items():
        (tmp_path / file).write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path],
        capture_output=True,
        text=True,
        timeout=600,  # of a busy machine; its own time has a limit below
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (60, 60)),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    peak, *rows = done.stdout.splitlines()
    assert int(peak) << 10 < MEMORY
    if name != "open-braces":  # which is only text, but once took hours
        assert any(row.split()[0] in ("parse_error", "partial") for row in rows)
    if name not in ("open-braces", "chain-of-extends"):
        assert re.search("than|too deep|limit of", done.stdout)


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(2, 5), st.text("ab", min_size=1, max_size=5))
def test_no_env_file_becomes_larger_than_the_limit(lines, times, text):
    names = [f"A{n}" for n in range(lines)]
    body = f"A0={text}\n" + "".join(
        f"{name}={f'${before}' * times}\n" for before, name in pairwise(names)
    )
    size = len(text) * sum(times**n for n in range(lines))
    try:
        values = read_env(body)
    except ValueError as error:
        assert "16 MB" in str(error) and size > limits.MAX_CHARACTERS / 4
    else:
        assert sum(map(len, values.values())) == size <= limits.MAX_CHARACTERS


@settings(max_examples=50)
@given(st.text("${}A:-b"), st.integers(0, 2000))
def test_time_of_interpolation_is_in_line_with_its_length(text, times):
    assert isinstance(interpolate("${A" * times + text, {}, set()), str)


# ---- files that are none, or not of the project ----


@pytest.fixture
def shop(tmp_path) -> Path:
    (tmp_path / "secret.env").write_text("TOKEN=from-outside\n")
    (tmp_path / "outside.yaml").write_text("services: {base: {image: outside}}\n")
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "link.env").symlink_to(tmp_path / "secret.env")
    (shop / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    (shop / "inner.env").write_text("TOKEN=inside\n")
    (shop / "inner-link.env").symlink_to("inner.env")
    return shop


@pytest.mark.parametrize(
    "text",
    [
        "services: {web: {image: x, env_file: %s/secret.env}}",
        "services: {web: {image: x, env_file: ../secret.env}}",
        "services: {web: {image: x, env_file: sub/../../secret.env}}",
        "services: {web: {image: x, env_file: link.env}}",
        "services: {web: {image: x, env_file: [{path: link.env, required: false}]}}",
        "services: {web: {image: x, extends: {file: ../outside.yaml, service: base}}}",
        "services: {web: {image: x, extends: {file: link.yaml, service: base}}}",
        "include: [../outside.yaml]\nservices: {web: {image: x}}",
        "include: [link.yaml]\nservices: {web: {image: x}}",
        "include: [{path: link.yaml, project_directory: ..}]\nservices: {web: {image: x}}",
        "include: [{path: sub.yaml, env_file: ../secret.env}]\nservices: {web: {image: x}}",
    ],
)
def test_what_is_outside_is_read_only_where_that_is_allowed(shop, text):
    (shop / "sub").mkdir()
    (shop / "sub.yaml").write_text("services: {sub: {image: x}}")
    text = text.replace("%s", str(shop.parent))
    batch = written(shop, text)
    hints = [row.get("hint") or "" for row in batch.coverage]
    assert any("allow_outside" in hint for hint in hints)
    assert "web" in workloads(batch)
    assert "outside" not in repr(batch.rows)
    assert all(not row["env_names_n"] for row in workloads(batch).values())
    allowed = written(shop, text, allow_outside=True)
    assert not any("allow_outside" in (row.get("hint") or "") for row in allowed.coverage)
    assert allowed.coverage[-1]["status"] == "ok"


def test_a_compose_file_that_links_outside_is_not_read(shop):
    (shop / "compose.yaml").symlink_to(shop.parent / "outside.yaml")
    for path in ("shop", "shop/compose.yaml"):
        batch = read(path, shop.parent)
        assert "allow_outside" in batch.coverage[0]["hint"]
        assert not batch.rows.get("workloads")
        assert "base" in workloads(read(path, shop.parent, allow_outside=True))


def test_links_within_the_project_and_files_that_the_options_name_are_read(shop):
    batch = written(shop, "services: {web: {image: x, env_file: inner-link.env}}")
    assert workloads(batch)["web"]["env_names_n"] == 1
    both = read(["shop/compose.yaml", "outside.yaml"], shop.parent)
    assert {"web", "base"} == workloads(both).keys()


@pytest.mark.parametrize("kind", ["zero", "pipe", "directory", "large", "bytes", "loop"])
@pytest.mark.parametrize("use", ["env_file", ".env", "include", "extends"])
def test_what_is_no_file_of_text_is_refused_at_once(tmp_path, kind, use):
    name = ".env" if use == ".env" else "odd"
    odd = tmp_path / name
    if kind == "zero":
        odd.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(odd)
    elif kind == "directory":
        odd.mkdir()
    elif kind == "loop":
        odd.symlink_to(name)
    else:
        odd.write_bytes(b"\xff\xfe\xfa" if kind == "bytes" else b"#" * (5 << 20))
    web = "services: {web: {image: x}}"
    text = {
        "env_file": web[:-2] + ", env_file: odd}}",
        ".env": web,
        "include": f"include: [odd]\n{web}",
        "extends": web[:-2] + ", extends: {file: odd, service: a}}}",
    }[use]
    start = time.process_time()
    batch = written(tmp_path, text, allow_outside=True)
    assert time.process_time() - start < 5
    assert {row["status"] for row in batch.coverage} & {"parse_error", "partial"}
    hints = " ".join(row.get("hint") or "" for row in batch.coverage)
    words = {"large": "4 MB", "zero": "no regular file", "pipe": "no regular file"}
    assert words.get(kind, "") in hints
    assert "web" in workloads(batch)


def test_a_slip_of_the_pen_is_named(tmp_path):
    hint = written(tmp_path, "services: {a: {image: x, scale: 5000}}").coverage[0]["hint"]
    assert hint == "service a has more than 1,000 replicas"


def test_an_unlimited_reader_reads_nothing_outside(tmp_path):
    with pytest.raises(ValueError, match="outside"):
        Limits([tmp_path / "a"]).read(tmp_path / "b")


KEYS = (
    "image container_name hostname restart privileged network_mode pid ipc user read_only scale "
    "mem_limit cpus pids_limit stop_grace_period environment labels networks deploy logging links "
    "external_links volumes_from cap_add profiles expose depends_on env_file ports volumes tmpfs "
    "healthcheck extends log_driver"
)
ODD = [
    *(
        "9" * 400,
        "1e400",
        "-1",
        "9" * 30 + "g",
        "9" * 400 + "s",
        "'\\0'",
        "''",
    ),
    *(
        "[]",
        "[[]]",
        "[null]",
        "[{}]",
        "{}",
        "{a: [b]}",
        "{a: {b: [c]}}",
        "null",
        "!reset null",
    ),
    *(
        "!override [a]",
        "{resources: {limits: {memory: [x], pids: 1e300}}}",
        "{replicas: -5}",
        "{driver: [x]}",
        "{driver: {}}",
        "{restart_policy: {condition: [x]}}",
    ),
    *(
        "{file: 3, service: []}",
        "{path: {}}",
        "[{path: [a]}]",
        "'::'",
        "':/'",
        "[':x:', ':']",
    ),
]


@pytest.mark.parametrize("key", KEYS.split())
def test_one_odd_value_costs_no_more_than_itself(tmp_path, key):
    services = [f"  s{n}: {{image: x, {key}: {odd}}}\n" for n, odd in enumerate(ODD)]
    if key == "image":
        services = [line.replace("image: x, ", "") for line in services]
    batch = written(tmp_path, f"services:\n  plain: {{image: x}}\n{''.join(services)}")
    expected = {"plain", *(f"s{n}" for n in range(len(ODD)))}
    lost = expected - workloads(batch).keys()
    assert not lost or (key == "profiles" and "plain" not in lost), batch.coverage
    for frame in ComposeSource.fills:
        frames.conform(frame, pd.DataFrame(batch.rows[frame]))
