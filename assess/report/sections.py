"""The main sections of the report: decision, ranking, blast radius, upgrade churn."""

from typing import Any

from assess import figures
from assess.frames import surely
from assess.report.first_screen import answers
from assess.report.model import (
    Column,
    Part,
    Pictures,
    Section,
    Table,
    columns_of,
    kinds_shown,
    table_of,
)
from assess.score.assessment import Assessment
from assess.score.result import Result
from assess.words import element_label, element_labels

NO_FAILURE = "No failure was observed yet: nothing shows how well this holds."
SHORT = 12  # services of the short list on the page
FOLDED: dict[str, Any] = {"limit": 60, "is_folded": True}  # for long tables of details
READ: dict[str, Any] = {"is_folded": True, "paper": 40}  # a fold that paper opens


def decision(scores: Assessment, earlier: Assessment | None) -> Section:
    """Return the first section: the answers of a decision meeting, and the short list."""
    frame = scores.what_next.frame.reset_index()
    k = scores.what_next.k
    listed = frame[frame["p_top"].notna() & frame["label"].isin(_LISTED)]
    inside = frame[frame["label"].isin(["FIX", "PULL BACK"])]
    tables = [
        Table(
            "short-list",
            "The short list, best first",
            columns_of("short-list", k=k),
            listed,
            f"“In the top {k}”: the share of all weightings of the criteria in which the service "
            f"is among the best {k}. Worst case: every unknown counts against it. Neutral case: "
            "measurements drawn from their intervals. An open gate excludes it from both. Wave: "
            "the order that dependencies and the exposure budget allow; – means not scheduled.",
            "No candidate qualifies to move, pilot or prepare; the ranking has the reasons.",
            limit=SHORT,
        )
    ]
    if len(inside):
        tables.append(
            table_of(
                "already-inside",
                "Already in containers, with open problems",
                inside,
                **READ,
            )
        )
    facts = answers(scores, earlier)
    return Section("decision", "Decision", parts=tables, facts=facts)


_LISTED = ["MOVE NOW", "PILOT", "PREPARE"]


def ranking(scores: Assessment, pictures: Pictures) -> Section:
    """Return the section with the ranking of all services."""
    frame = scores.what_next.frame.reset_index()
    k = scores.what_next.k
    draws = scores.policy.draws
    caption = (
        "Only services with clear gates compete. Filled: worst case; every unknown counts against "
        "the service. Hollow: neutral case; measurements drawn from their intervals. Better "
        "evidence narrows the distance. Diamond: a service behind a gate, if its own open gates "
        "were cleared. Dotted: "
        f"thresholds for PILOT and MOVE NOW. {draws:,} weightings, seed {scores.policy.seed}."
    )
    text = (
        "No single weighting of the criteria is right, so all of them are tried. The share of "
        "weightings in which a service comes first shows how robust its rank is. Services that "
        "already run in containers do not compete."
    )
    parts: list[Part] = [
        pictures(
            "what-next", caption, fold=f"How often each candidate is in the top {k}"
        ),
        Table(
            "ranking-table",
            "All services, best first",
            columns_of("ranking-table", k=k),
            frame,
            **READ,
        ),
        pictures(
            "acceptability",
            "In the worst case. One dark field in a row: the rank does not depend on the weights. "
            "A long pale row: it depends on the weights.",
            fold="How often each candidate has each rank",
            is_printed=False,
        ),
        *_boards(scores),
    ]
    return Section("ranking", "Ranking", [text], parts)


def _boards(scores: Assessment) -> list[Part]:
    """List services whose label differs between the boards of the policy."""
    boards = {
        board["id"]: board.get("title", board["id"]) for board in scores.policy["board"]
    }
    by_board = scores.what_next.details["boards"]
    frame = scores.what_next.frame
    if not boards or by_board.empty:
        return []
    labels = by_board.pivot(index="service_id", columns="board", values="label")
    labels = frame[["label"]].rename(columns={"label": "any"}).join(labels)
    differ = labels.ne(labels["any"], axis=0).any(axis=1)
    columns = [Column(board, title, "label") for board, title in boards.items()]
    return [
        Table(
            "boards",
            "Services whose label depends on the board",
            [*columns_of("boards"), *columns],
            labels[differ].rename_axis("service_id").reset_index(),
            f"Each board has its own weights in the policy. The other {int((~differ).sum())} services "
            "have the same label for every board.",
            "Every service has the same label for every board.",
            is_folded=True,
        )
    ]


def blast_radius(scores: Assessment, pictures: Pictures) -> Section:
    """Return the section on the blast radius of elements and services."""
    blast = scores.blast_radius
    elements = figures.blast_radius_data(blast)[
        ["element_kind", "element", "label"]
    ].merge(blast.frame.reset_index(), on=["element_kind", "element"], how="left")
    elements = elements[elements["element_kind"].isin(kinds_shown(scores))]
    services = blast.details["services"].rename_axis("service_id").reset_index()
    order = figures.blast_services_data(blast)["service_id"]
    services = services.set_index("service_id").reindex(order).reset_index()
    observed = surely(services["dependencies_observed"].astype("boolean"))
    unseen = int((~observed).sum())
    warnings = []
    if unseen:
        warnings.append(
            f"No source observed the dependencies of {unseen} of {len(services)} services. "
            "That is unknown, not safe: their upper bounds are wider."
        )
    called = surely(services["callers_seen"])
    if not called.all():
        warnings.append(
            f"The callers of {int(called.sum())} of {len(services)} services were seen. "
            "Anybody may call the others: traces or connections over a week would narrow it."
        )
    text = (
        "Share of the fleet's criticality that goes down with a failing element: what is "
        "expected, and up to what can be reached. Callers often survive a failure: the "
        "probability that one goes down comes from the policy, or is learned from failures."
    )
    reading = (
        "Point: what is expected. Bar: from the least that is expected to all that can be "
        "reached, including calls that no source would have seen."
    )
    hollow = f"{reading} Hollow: no source observed its dependencies."
    parts: list[Part] = [
        pictures("blast-elements", reading, fold="Blast radius of each element"),
        table_of(
            "elements",
            "Elements, worst first",
            elements,
            **FOLDED,
        ),
        pictures("blast-services", hollow, fold="Blast radius of each service"),
        table_of(
            "service-blast",
            "Services, worst first",
            services,
            _SERVICES_NOTE,
            **FOLDED,
        ),
        *_parts_on_predictions(scores, pictures),
    ]
    said = [text, *_judged(scores)]
    return Section("blast-radius", "Blast radius", said, parts, warnings)


_SERVICES_NOTE = (
    "Change by the move: blast radius of the service and its hosts after the move minus before. "
    "A negative value is better containment."
)


def _judged(scores: Assessment) -> list[str]:
    """Return sentences on the validation of predictions with left-out failures."""
    verdicts = scores.blast_radius.details["learned_judged"]["verdict"]
    return list(dict.fromkeys(verdicts)) or [NO_FAILURE]


def _parts_on_predictions(scores: Assessment, pictures: Pictures) -> list[Part]:
    """Return the parts on validation, and on experiments, best first."""
    held = scores.blast_radius.details["calibration_measures"]
    held = held.rename(columns={"lo": "value_lo", "hi": "value_hi"})
    tried = scores.experiments.frame.reset_index()
    names = element_labels(tried["element_kind"], tried["element"])
    places = [element_label(*place.split(" ", 1)) for place in tried["safest"]]
    return [
        table_of(
            "predictions-held",
            "How well the predictions held",
            held,
            is_folded=True,
        ),
        pictures(
            "experiments",
            "Point: what the failure is expected to decide.",
            fold="What each failure would decide",
        ),
        table_of(
            "experiments",
            "Which failure to try next",
            tried.assign(label=names, place=places),
            empty="No experiment would decide anything.",
            limit=60,
            is_folded=True,
        ),
    ]


def upgrade_churn(scores: Assessment, pictures: Pictures) -> Section:
    """Return the section on upgrade costs and ends of support."""
    churn = scores.upgrade_churn
    order = figures.upgrade_churn_data(churn)["service_id"]
    frame = churn.frame.reindex(order).reset_index()
    breaking = churn.details["breaking"].drop_duplicates(_SHOWN_OF_BREAKS)
    text = (
        "Work that upgrades force: how often a release line ends, how often an upgrade in this "
        "fleet failed within a week, and the hours that both cost."
    )
    parts: list[Part] = [
        pictures(
            "upgrade-churn",
            "Bar: interval. Point: expected.",
            fold="Hours of upgrades per year, by service",
            is_printed=False,
        ),
        table_of(
            "churn-table",
            "Services, most work first",
            frame,
            **FOLDED,
        ),
        pictures(
            "clocks",
            "Hatched: no announced end of support; unknown.",
            fold="Days to the end of support",
        ),
        table_of(
            "calendar",
            "Announced for the next four quarters",
            churn.details["calendar"],
            empty="Nothing that is announced for the next four quarters touches this fleet.",
            **FOLDED,
        ),
        table_of(
            "remedies",
            "What to do before the upgrade, most workloads first",
            churn.details["remedies"],
            _unknown_breaks(churn),
            empty="No change up to the target version affects anything seen in use.",
            **FOLDED,
        ),
        table_of(
            "breaking",
            "What the upgrade to the target will or may break, by service",
            breaking,
            empty="No change up to the target version affects anything seen in use.",
            **FOLDED,
        ),
    ]
    return Section("upgrade-churn", "Upgrade churn and clocks", [text], parts)


def _unknown_breaks(churn: Result) -> str:
    """Return the number of services that may break, for unknown facts, and of those not judged."""
    may_n = int(churn.frame["breaking_unknown_n"].gt(0).sum())
    blind_n = int(churn.frame["breaking_n"].isna().sum())
    return (
        f"Services that may break, because a deciding fact is unknown: {may_n}. "
        f"Services whose engine is unknown, so that nothing can be said: {blind_n}."
    )


_SHOWN_OF_BREAKS = ["service_id", "host_id", "change", "certainty", "what", "why"]


def targets(scores: Assessment, pictures: Pictures) -> Section:
    """Return the section on where each service could run."""
    result = scores.targets
    text = (
        "Every service on every target of the policy: what the target refuses, the gates as they "
        "would be there, the upgrade hours of your teams, the change of the blast radius, and "
        "the cost by your own prices. Without a size or a price a cost is unknown."
    )
    parts: list[Part] = [
        pictures(
            "targets",
            "Beside a mark: the gate or refusal that comes first.",
            fold="Every service on every target",
        ),
        table_of(
            "targets-what",
            "What each target is",
            result.details["targets"],
            **FOLDED,
        ),
        Table(
            "targets-open",
            "Options: targets that no other target beats",
            columns_of("targets-table")[:-1],  # whether it is beaten
            result.options().reset_index(),
            note=_TARGETS_NOTE,
            empty="No service fits anywhere yet.",
            **FOLDED,
        ),
        table_of(
            "targets-table",
            "Every target",
            result.frame.reset_index(),
            **FOLDED,
        ),
    ]
    return Section("targets", "Where to: targets compared", [text], parts)


_TARGETS_NOTE = (
    "A target beats another where it fits and is at least as good on every column at its worst, "
    "and better on one; what is unknown is worse than all that is known."
)
