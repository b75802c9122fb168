"""What was predicted against what happened, when parts of a running storefront were broken."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import docker
import engines as real
import pandas as pd
import pytest
import registries
from storefront import SERVICES, Storefront

import assess

pytestmark = pytest.mark.engine
SOFT = [("telemetry", s, d, "") for s, v in SERVICES.items() for d in v.soft]
# the board knows which calls it cannot do without; without that, each is only likely to matter
HARD = [("call", s, d, "1") for s, v in SERVICES.items() for d in v.hard]
EITHER = [("call", s, d, "0") for s, v in SERVICES.items() for d in v.either]


@pytest.fixture(scope="module")
def shop():
    """The storefront on two engines and a registry, all of its services answering."""
    with ExitStack() as stack:
        base = Path(tempfile.mkdtemp(prefix="assess-"))
        stack.callback(shutil.rmtree, base, ignore_errors=True)
        try:
            registry = stack.enter_context(registries.running(base / "registry"))
            started = {}
            for host, directory in enumerate(real.engine_directories(), start=1):
                started[host] = real.start(directory, base / f"h{host}")
                stack.callback(started[host].stop)
            for engine in started.values():
                real.wait(engine)
        except (real.NoEngineError, registries.NoRegistryError) as error:
            if os.environ.get("CI"):
                pytest.fail(f"no real engines: {error}")
            pytest.skip(f"no real engines: {error}")
        found = Storefront(started, registry.host)
        found.build()
        found.heal()
        yield found, registry


@pytest.fixture(scope="module")
def inventory(shop, tmp_path_factory):
    """What assess collects of it; the soft dependencies are declared as frames."""
    storefront, _ = shop
    base = tmp_path_factory.mktemp("storefront")
    declared = base / "declared"
    declared.mkdir()
    share = "".join(
        f"{n},1,{100 if s.all_replicas else ''}\n" for n, s in SERVICES.items()
    )
    (declared / "services.csv").write_text(
        f"service_id,criticality,min_healthy_pct\n{share}"
    )
    rows = "".join(
        f"{s},{d},{kind},board,{p}\n" for kind, s, d, p in [*HARD, *SOFT, *EITHER]
    )
    (declared / "dependencies.csv").write_text(f"src_id,dst_id,kind,evidence,p\n{rows}")
    (declared / "snapshot.toml").write_text('snapshot_at = "2026-10-01T00:00:00Z"\n')
    sources = [
        f'[[source]]\ntype = "docker"\nendpoint = "{e.endpoint}"\nhost_id = "host-{host}"\n'
        for host, e in storefront.engines.items()
    ]
    sources.append('[[source]]\ntype = "frames"\npath = "declared"\n')
    (base / "assess.toml").write_text("".join(sources))
    return assess.collect(base / "assess.toml")


@dataclass
class Trial:
    """One failure made on purpose: what was predicted, what fell, and how long healing took."""

    what: str
    element: tuple[str, str]
    down: frozenset[str]
    started: pd.Timestamp
    ended: pd.Timestamp
    heal_s: float


def on_containers(storefront, service, verb):
    """Do something to every container of a service."""
    for host, name in storefront.containers(service):
        api = storefront.client(host)
        getattr(api, verb)(name)
        api.close()


def stop_engine(engine):
    engine.process.send_signal(signal.SIGTERM)
    engine.process.wait(30)


def trial(storefront, what, element, fail, mend):
    """Break something, look from outside, mend it, and wait until all is well."""
    assert storefront.answering() == frozenset(SERVICES)
    started = pd.Timestamp.now("UTC")
    fail()
    down = frozenset(SERVICES) - storefront.settled()
    begun = time.monotonic()
    mend()
    storefront.heal()
    healed = time.monotonic() - begun
    return Trial(what, element, down, started, pd.Timestamp.now("UTC"), healed)


@pytest.fixture(scope="module")
def trials(shop, inventory):
    """Every failure, one after the other."""
    storefront, _ = shop

    def one(what, service, fail, mend):
        return trial(
            storefront,
            what,
            ("service", service),
            lambda: on_containers(storefront, service, fail),
            lambda: on_containers(storefront, service, mend),
        )

    def engine(host):
        target = storefront.engines[host]
        return trial(
            storefront,
            "engine stopped",
            ("host", f"host-{host}"),
            lambda: stop_engine(target),
            lambda: real.start_again(target),
        )

    return [
        one("killed", "db", "kill", "start"),
        one("killed", "catalog", "kill", "start"),
        one("killed", "cache", "kill", "start"),
        one("killed", "search", "kill", "start"),
        one("frozen", "queue", "pause", "unpause"),
        one("frozen", "metrics", "pause", "unpause"),
        engine(2),
        engine(1),
    ]


def show(capsys, text):
    """Write into the output of the test run, whether it passes or not."""
    with capsys.disabled():
        print(f"\n{text}")  # noqa: T201


def predicted(blast, element):
    """What is predicted to go down with an element."""
    hit = blast.details["affected"].query(
        "element_kind == @element[0] and element == @element[1]"
    )
    return frozenset(hit.loc[hit["p_down"] >= 0.5, "service_id"].astype(str))


def test_what_fell_is_what_was_predicted(shop, inventory, trials, capsys):
    blast = assess.score_blast_radius(inventory, assess.load_policy())
    rows = []
    for each in trials:
        want = predicted(blast, each.element)
        impact = blast.frame.loc[each.element, "impact"]
        rows.append(
            {
                "failure": f"{' '.join(each.element)} {each.what}",
                "predicted": f"{impact:.0%}",
                "observed": f"{len(each.down) / len(SERVICES):.0%}",
                "down as predicted": " ".join(sorted(each.down & want)),
                "down, not predicted": " ".join(sorted(each.down - want)),
                "predicted, not down": " ".join(sorted(want - each.down)),
                "healed after": f"{each.heal_s:.1f} s",
            }
        )
    show(capsys, pd.DataFrame(rows).to_string(index=False))
    # by hand: whoever needs it, and nobody who only asks it
    fell = {each.element[1]: each.down for each in trials}
    assert fell["db"] == {"db", "ledger", "orders", "worker", "web"}
    assert fell["cache"] == {"cache"}
    assert fell["search"] == {"search"}
    assert {row["down, not predicted"] for row in rows} == {""}
    assert {row["predicted, not down"] for row in rows} == {""}
    both = blast.details["affected"].query(
        "service_id in ['ledger', 'catalog'] and p_down > 0"
    )
    assert "host-2" not in set(both["element"])  # two replicas on two hosts


def test_the_engine_version_of_a_host_takes_down_what_the_host_does(inventory, trials):
    blast = assess.score_blast_radius(inventory, assess.load_policy())
    engines = inventory["engines"].set_index("host_id")["version"]
    host = next(each for each in trials if each.element[1] == "host-2")
    assert predicted(blast, ("engine", f"docker {engines['host-2']}")) == host.down


def test_a_broken_registry_freezes_and_takes_nothing_down(shop, inventory, capsys):
    storefront, registry = shop
    blast = assess.score_blast_radius(inventory, assess.load_policy())
    frozen = blast.details["frozen"].query("element == @registry.host")["service_id"]
    assert set(frozen) == {"search", "mailer"}
    assert blast.frame.loc[("registry", registry.host), "impact"] == 0
    # none of the two runs here: this is where it would be rescheduled
    api = storefront.client(1)
    try:
        api.pull(storefront.image("mailer"))
        registry.stop()
        assert storefront.settled() == frozenset(SERVICES)
        refused = [name for name in frozen if not _pulls(api, storefront.image(name))]
        names = [" ".join(sorted(each)) for each in (frozen, refused)]
        show(
            capsys,
            "registry stopped: none predicted down, none observed down; frozen as "
            f"predicted: {names[0]}, as observed: {names[1]}",
        )
        assert set(refused) == set(frozen)
    finally:
        api.close()


def _pulls(api, reference):
    """Say whether the image can be had anew."""
    if api.images(reference):
        api.remove_image(reference)
    try:
        api.pull(reference)
    except docker.errors.APIError:
        return False
    return bool(api.images(reference))


def test_a_crash_heals_by_the_restart_policy(shop, capsys):
    storefront, _ = shop
    api = storefront.client(1)
    pid = api.inspect_container("shop-suggest-1")["State"]["Pid"]
    start = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    with ThreadPoolExecutor(1) as pool:
        gone = pool.submit(storefront.answering).result()
    seconds = storefront.heal() + time.monotonic() - start
    restarted = api.inspect_container("shop-suggest-1")
    api.close()
    seen = "seen down" if "suggest" not in gone else "not seen down"
    show(
        capsys,
        f"suggest crashed: {seen}, answering again by itself within {seconds:.1f} s",
    )
    assert restarted["RestartCount"] == 1
    assert restarted["State"]["Pid"] != pid


def test_the_trials_calibrate_the_prediction(inventory, trials, capsys):
    """The observations are a frame of experiments, and the score judges itself by them."""
    frame = pd.DataFrame(
        {
            "experiment_id": f"trial-{i}",
            "element_kind": t.element[0],
            "element": t.element[1],
            "started_at": t.started,
            "ended_at": t.ended,
            "basis": "outage",
            "affected_services": ";".join(sorted(t.down)),
        }
        for i, t in enumerate(trials)
    )
    lived = inventory.replace(experiments=frame)
    blast = assess.score_blast_radius(lived, assess.load_policy())
    table = blast.details["calibration"]
    show(
        capsys,
        table[["element", "observed", "predicted"]].round(2).to_string(index=False),
    )
    assert len(table) == len(trials)
    assert (table["observed"] - table["predicted"]).abs().max() < 1e-9
