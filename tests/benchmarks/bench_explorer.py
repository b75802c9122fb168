"""The explorer's slider in Chromium: from a turn of the knob until the new ranking stands.

`python tests/benchmarks/bench_explorer.py [SERVICES ...]` prints the median of some turns in each
mode, the processor time of a turn, and the target on two cores that do nothing else. Not a test:
times belong to the machine.
"""

import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from assess.policy import load_policy
from assess.report.explorer import Explorer
from assess.score.result import Provenance
from assess.score.what_next import WhatNext
from assess.score.what_next.ranking import Ranking

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))  # the browser of the tests
TARGETS = {200: 100, 2000: 500}  # services: milliseconds
TURNS = 15
# one turn: the event, and two frames, after which the table has been drawn
TURN = """([criterion, value]) => new Promise((done) => {
  const knob = document.querySelector(`[data-criterion="${criterion}"]`);
  const start = performance.now();
  knob.value = value;
  knob.dispatchEvent(new Event("input", { bubbles: true }));
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
})"""


def ranking(n: int) -> WhatNext:
    """An invented ranking of n services, three of four of which compete."""
    rng = np.random.default_rng(n)
    policy = load_policy()
    names = [f"s{i:05}" for i in range(n)]
    criteria = list(policy["criteria"])
    rows = pd.MultiIndex.from_product(
        [names, criteria], names=["service_id", "criterion"]
    )
    ends = np.sort(rng.random((len(rows), 2)), axis=1)
    values = {"point": ends.mean(axis=1), "lo": ends[:, 0], "hi": ends[:, 1]}
    table = pd.DataFrame(values, rows).reset_index()
    gates = pd.Series(rng.choice(["", "", "", "HOLD"], size=n)).replace("", None)
    frame = pd.DataFrame(
        {
            "label_gates": gates.to_numpy(),
            "readiness_lo": 100 * ends[:: len(criteria), 0],
            "readiness": 100 * ends[:: len(criteria)].mean(axis=1),
            "readiness_hi": 100 * ends[:: len(criteria), 1],
            "platform": "host",
            "owner": "team",
            "could_move": "yes",
            "why": "",
            "wave": pd.NA,
        },
        pd.Index(names, name="service_id"),
    )
    day = pd.Timestamp("2026-09-30", tz="UTC")
    origin = Provenance(
        day, "2026Q3", policy.hash, "2026-09-01", "1", policy.seed, policy
    )
    ranked = Ranking.of(frame, table, policy)
    chances, _ = ranked.all_weightings()
    frame = frame.join(chances)
    frame["label"] = ranked.labels(frame["p_top"])
    return WhatNext(frame, pd.DataFrame(), origin, {"criteria": table})


def turns(page, give: int) -> tuple[float, float]:
    """Turn one knob a number of times: median of a turn, and its processor time. [ms]"""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.evaluate(TURN, ["give", str(give)])
    before = busy(session)
    times = [
        page.evaluate(TURN, ["readiness", str(5 * turn)]) for turn in range(1, TURNS + 1)
    ]
    return statistics.median(times), 1000 * (busy(session) - before) / TURNS


def busy(session) -> float:
    """Processor time of the page's tasks so far. [s]"""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(m["value"] for m in metrics if m["name"] == "TaskDuration")


def main() -> None:
    """Measure every size in both modes of the sliders."""
    from browsers import chromium

    sizes = [int(n) for n in sys.argv[1:]] or list(TARGETS)
    head = f"{'services':>8}{'weights':>14}{'median [ms]':>14}{'CPU [ms]':>10}{'target':>8}\n"
    sys.stdout.write(head)
    with tempfile.TemporaryDirectory() as place, chromium() as browser:
        for n in sizes:
            file = Path(place) / f"{n}.html"
            html = Explorer([ranking(n)]).html.replace(" data-framed", "")
            file.write_text(html, encoding="utf-8")
            page = browser.new_page()
            page.goto(file.as_uri())
            page.get_by_label("My weights").check()
            page.wait_for_timeout(1500)
            for give, name in ((0, "exact"), (10, "give or take")):
                median, own = turns(page, give)
                target = TARGETS.get(n, "")
                row = f"{n:>8}{name:>14}{median:>14.0f}{own:>10.0f}{target:>8}\n"
                sys.stdout.write(row)


if __name__ == "__main__":
    main()
