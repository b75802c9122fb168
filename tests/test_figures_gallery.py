"""A gallery of every figure, for 5, 50 and 1,000 services, to look at: `.artefacts/gallery`."""

import inspect
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

import assess
from assess import figures
from assess.sample import write_sample

PLACE = Path(__file__).parent.parent / ".artefacts" / "gallery"
SIZES = (5, 50, 1000)
MEETING_DPI = 150  # 1,260 pixels wide
NO_ROWS_OF_SERVICES = {"backtest", "claim", "claims", "coverage", "fall", "history"}
SHARED_ROWS = {
    "blast_radius",
    "clocks",
    "targets",
}  # services that are alike have one row
DRAWN = sorted(
    name
    for name in vars(figures)
    if inspect.isfunction(getattr(figures, name))
    and "Axes" in str(inspect.signature(getattr(figures, name)).return_annotation)
)

OF_ONE_SIZE = NO_ROWS_OF_SERVICES - {"history"}
CASES = [(name, n) for name in DRAWN for n in SIZES if n == 50 or name not in OF_ONE_SIZE]


@pytest.fixture(scope="module")
def quarters(tmp_path_factory):
    """Two quarters of 50 services, each scored once."""
    place = tmp_path_factory.mktemp("fleet")
    write_sample(place, services=50)
    policy = assess.load_policy().replace(simulation={"draws": 200})
    return [
        scored(assess.load(place / quarter), policy) for quarter in ("2026Q2", "2026Q3")
    ] + [policy]


def scored(inventory, policy):
    scores = {
        "readiness": assess.score_readiness(inventory, policy),
        "blast": assess.score_blast_radius(inventory, policy),
        "churn": assess.score_upgrade_churn(inventory, policy),
    }
    base = dict(scores)
    scores["targets"] = assess.score_targets(inventory, policy, **base)
    scores["experiments"] = assess.score_experiments(inventory, policy, **base)
    given = {name: scores[name] for name in ("readiness", "blast", "churn")}
    scores["next"] = assess.what_next(inventory, policy, **given)
    return {**scores, "inventory": inventory}


def sized(table, n):
    """The first n services of a table of fifty, or as many copies of it as make n."""
    is_index = "service_id" not in table and not pd.api.types.is_numeric_dtype(
        table.index.dtype
    )
    if is_index and table.index.nlevels > 1:
        return table
    flat = table.rename_axis("service_id").reset_index() if is_index else table
    if "service_id" not in flat:
        return table
    names = flat["service_id"].astype("str")
    copies = -(-n // 50)
    parts = [flat.assign(service_id=names + f"~{k}" * bool(k)) for k in range(copies)]
    made = pd.concat(parts, ignore_index=True)
    made = made[made["service_id"].isin(made["service_id"].unique()[:n])]
    return made.set_index("service_id") if is_index else made


def of_size(result, n):
    details = {name: sized(table, n) for name, table in result.details.items()}
    return replace(result, frame=sized(result.frame, n), details=details)


def arguments(name, quarters, n):
    before, now, policy = quarters
    if name in ("claims", "claim"):
        judged = assess.judge_claims(
            now["inventory"], policy, previous=before["inventory"]
        )
        return (judged, "C5") if name == "claim" else (judged,)
    if name == "backtest":
        return (assess.backtest(now["inventory"], policy, previous=before["inventory"]),)
    if name == "coverage":
        return (now["inventory"],)
    if name == "fall":
        return now["blast"], *now["blast"].frame.index[0]
    if name == "history":
        pairs = (("2026Q2", before), ("2026Q3", now))
        return (
            pd.DataFrame({q: of_size(s["next"], n).frame["label"] for q, s in pairs}),
        )
    if name in ("targets", "experiments"):
        return (now[name],)
    if name == "quarter_change":
        return of_size(now["readiness"], n), of_size(before["readiness"], n)
    score = {"readiness": "readiness", "what_next": "next", "acceptability": "next"}.get(
        name, "churn" if name in ("clocks", "upgrade_churn") else "blast"
    )
    return (of_size(now[score], n),)


@pytest.mark.parametrize(("name", "n"), CASES)
def test_a_figure_is_in_the_gallery_with_unit_and_count(name, n, quarters):
    ax = getattr(figures, name)(*arguments(name, quarters, n))
    PLACE.mkdir(parents=True, exist_ok=True)
    figure = ax.figure
    figure.savefig(PLACE / f"{name}-{n}.png", dpi=MEETING_DPI)
    labels = [tick.get_text() for tick in ax.get_yticklabels()]
    assert "n = " in ax.get_xlabel()
    assert "(" in ax.get_xlabel()
    assert len(labels) <= 26
    if n == 1000 and name not in NO_ROWS_OF_SERVICES | SHARED_ROWS:
        assert labels[-1].startswith("and ")
    box = figure.get_tightbbox()
    assert box.width <= figure.get_figwidth() * 1.01  # no word runs out of the picture
    plt.close(figure)


def test_the_gallery_is_a_page():
    shown = sorted(PLACE.glob("*.png"))
    rows = "".join(
        f'<figure><img src="{file.name}" alt="{file.stem}" width="100%">'
        f"<figcaption>{file.stem}</figcaption></figure>"
        for file in shown
    )
    page = f'<!doctype html><html lang="en"><title>Figures</title><h1>Figures</h1>{rows}</html>'
    (PLACE / "index.html").write_text(page, encoding="utf-8")
    assert {file.stem.rpartition("-")[0] for file in shown} == set(DRAWN)
