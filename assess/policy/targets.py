"""Targets of a move: fill what a row leaves out, choose the default, list problems."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from assess import reference
from assess.config import Table, Values, packaged, packaged_rows
from assess.errors import did_you_mean

SHAPES = packaged("policy/shapes.toml")  # tables and keys of a policy, with examples
STAY = "stay"  # where a service is today; always one of the targets
PRICES = ("vcpu_hour", "gib_hour", "service_month")
_LANDINGS = ("hosts", "cluster", "auto-scaling-group", "new-hosts")
_PATCHED_BY = ("us", "provider")
_ARCHS = ("", "amd64", "arm64")
RUNTIMES = ("docker", "containerd", "cri-o", "podman")


@cache
def platforms() -> dict[str, Values]:
    """Return the facts of every platform: orchestrator, runtime, who patches, what it refuses."""
    found: dict[str, Values] = {}
    for row in packaged_rows("policy/platforms.csv"):
        lists = {name: row[name].split(";") for name in ("refuses", "calendars")}
        whole = {name: list(filter(None, cells)) for name, cells in lists.items()}
        is_healing = row["self_heal"] == "true"
        found[row["platform"]] = {**row, **whole, "self_heal": is_healing}
    return found


def complete(row: Table) -> Values:
    """Return a row of ``[[target]]``; cells that it lacks come from its platform or are empty."""
    usual = {**SHAPES["target"], "refuses": [], "prices": {}}
    own = platforms().get(row.get("platform", ""), {})
    named = {name: cell for name, cell in own.items() if name in usual}
    return {**usual, **named, **row}


def default_of(targets: Iterable[Table], wanted: str) -> Values:
    """Return the default target in the form of ``[target]``.

    Choose the wanted one, else the last with ``default = true``, else the first.
    """
    rows = [complete(row) for row in targets if row.get("id") != STAY]
    # a user's rows follow the packaged ones, so the user's mark wins
    marked = [row for row in reversed(rows) if row["default"]]
    named = [row for row in rows if row["id"] == wanted]
    chosen = next(iter([*named, *marked, *rows]), None)
    return as_default(chosen) if chosen else dict(SHAPES["default"])


def as_default(row: Table) -> Values:
    """Convert a complete row of ``[[target]]`` to the form of ``[target]``."""
    own = platforms().get(row["platform"], {})
    calendar = next(iter(own.get("calendars", [])), "docker")
    # a managed platform has a calendar of its own, not that of a runtime
    is_runtime = calendar in RUNTIMES
    return {
        **{name: row.get(name, usual) for name, usual in SHAPES["default"].items()},
        "runtime": row["runtime"] if is_runtime and row["runtime"] else calendar,
        "engine": row["version"] if is_runtime else row["cluster_version"],
        "orchestrator": own.get("orchestrator", ""),
    }


def with_own(row: Table, default: Table) -> Values:
    """Return a complete row with what the default target, of that row, says otherwise."""
    same = {name: default[name] for name in row if name in default and name != "runtime"}
    line = "version" if default["runtime"] in RUNTIMES else "cluster_version"
    return {**row, **same, line: default["engine"]}


def target_problems(values: Table) -> Iterator[str]:
    """List what is wrong with the targets of a complete policy."""
    refusals = [row["id"] for row in values["refusal"] if "id" in row]
    for row in values["targets"]:
        whose = f"target {row.get('id') or '?'}"
        for key in ("id", "platform"):
            if not row.get(key):
                yield f"{whose} has no {key}"
        for problem in _row_problems(row, refusals):
            yield f"{whose}: {problem}"
    prices = [row.get("prices", {}) for row in values["targets"]]
    named = (price.get("currency") for price in prices)
    currencies = {str(currency) for currency in named if currency}
    if len(currencies) > 1:
        both = " and ".join(sorted(currencies))
        yield f"the prices of the targets are in {both}: one currency is expected"
    yield from _default_problems(values["target"], values)


def _row_problems(row: Table, refusals: list[str]) -> Iterator[str]:
    words = {
        "platform": list(platforms()),
        "runtime": ["", "none", *RUNTIMES],
        "patched_by": ["", *_PATCHED_BY],
        "landing": ["", *_LANDINGS],
        "arch": list(_ARCHS),
    }
    system = row.get("os")
    # any name that the facts can place will do, with or without its version
    if not (reference.distro_of(system) or reference.os_family(system)):
        distros = {line["distro"] for line in reference.rows("distro_releases")}
        words["os"] = ["", *sorted(distros)]
    yield from _word_problems(row, words)
    for word in row.get("refuses", ()):
        yield from _word_problems({"refuses": word}, {"refuses": refusals})
    for key in ("replicas", "hosts_n", "zones"):
        number = row.get(key, 1)
        if number < 1 or number % 1:
            yield f"{key} is {number}: a whole number of at least 1 is expected"
    numbers = {key: row.get(key, 0) for key in ("memory_gib_max", "cpu_max")}
    numbers |= {f"prices.{key}": row.get("prices", {}).get(key, 0) for key in PRICES}
    for key, number in numbers.items():
        if not 0 <= number < float("inf"):
            yield f"{key} is {number}: a number >= 0 is expected"


def _default_problems(target: Table, values: Table) -> Iterator[str]:
    orchestrators = {own["orchestrator"] for own in platforms().values()}
    orchestrators |= set(values["evidence"]["orchestrators"])
    calendars = {name for own in platforms().values() for name in own["calendars"]}
    words = {
        "id": ["", *(row.get("id", "") for row in values["targets"])],
        "runtime": sorted({*RUNTIMES, *calendars}),
        "orchestrator": sorted(orchestrators),
        "landing": list(_LANDINGS),
    }
    for problem in _word_problems(target, words):
        yield f"target.{problem}"


def _word_problems(row: Table, words: Mapping[str, list[str]]) -> Iterator[str]:
    for key, known in words.items():
        word = row.get(key, known[0])
        if word not in known:
            named = ", ".join(filter(None, known))
            near = did_you_mean(word, known) or f"one of {named} is expected"
            yield f"{key} is {word!r}: {near}"
