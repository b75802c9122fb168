"""The main sections of the report: decision, ranking, blast radius, upgrade churn."""

from assess import figures
from assess.errors import counted
from assess.frames import surely
from assess.report.first_screen import answers
from assess.report.model import (
    Column,
    Part,
    Pictures,
    Section,
    blast_radius_shown,
    columns_of,
    kinds_shown,
    table_of,
    unseen_hosts,
)
from assess.score.assessment import Assessment
from assess.words import element_label, element_labels, share


def decision(scores: Assessment) -> Section:
    """Return the first section: the answers of a decision meeting, and the short list."""
    frame = scores.what_next.frame.reset_index()
    is_listed = frame["label"].isin(_LISTED) & frame["p_top"].notna()
    tables = [table_of("short-list", frame[is_listed], k=scores.what_next.k)]
    inside = frame[frame["label"].isin(["FIX", "PULL BACK"])]
    if len(inside):
        tables.append(table_of("already-inside", inside))
    return Section("decision", "Decision", parts=tables, facts=answers(scores))


_LISTED = ["MOVE NOW", "PILOT", "LATER", "PREPARE"]


def ranking(scores: Assessment, pictures: Pictures) -> Section:
    """Return the section with the ranking of all services."""
    policy = scores.policy
    k = scores.what_next.k
    frame = scores.what_next.frame.reset_index()
    text = (
        "No single weighting of the criteria is right, so all of them are tried. The share of "
        "weightings in which a service comes first shows how robust its rank is. Services that "
        "already run in containers do not compete."
    )
    parts: list[Part] = [
        pictures("what-next", k=k, draws=policy.draws, seed=policy.seed),
        table_of("ranking-table", frame, k=k),
        pictures("acceptability"),
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
    by_title = [Column(board, title, "label") for board, title in boards.items()]
    columns = [*columns_of("boards"), *by_title]
    listed = labels[differ].rename_axis("service_id").reset_index()
    return [table_of("boards", listed, columns, same_n=(~differ).sum())]


def blast_radius(scores: Assessment, pictures: Pictures) -> Section:
    """Return the section on the blast radius of elements and services."""
    blast = blast_radius_shown(scores)
    drawn = figures.blast_radius_data(blast).set_index(["element_kind", "element"])
    elements = blast.frame.reindex(drawn.index).assign(label=drawn["label"]).reset_index()
    elements = elements[elements["element_kind"].isin(kinds_shown(scores))]
    order = figures.blast_services_data(blast)["service_id"]
    services = blast.details["services"].reindex(order).reset_index()
    observed = surely(services["dependencies_observed"].astype("boolean"))
    unseen = (~observed).sum()
    warnings = []
    if unseen:
        warnings.append(
            f"No source observed the dependencies of {unseen} of {len(services)} services. "
            "That is unknown, not safe: their upper bounds are wider."
        )
    uncalled = (~surely(services["callers_seen"])).sum()
    if uncalled:
        warnings.append(
            f"No source saw who calls {uncalled} of {len(services)} services. Anybody may: traces "
            "or connections over a week would narrow it."
        )
    if hosts := unseen_hosts(scores):
        unlooked = counted(len(hosts), "host")
        warnings.append(
            f"No source says what runs on {unlooked}, nor what goes down there."
        )
    text = (
        "Share of the fleet's criticality that goes down with a failing element: what is "
        "expected, and up to what can be reached. Callers often survive a failure: the "
        "probability that one goes down comes from the policy, or is learned from failures."
    )
    parts: list[Part] = [
        pictures("blast-elements"),
        table_of("elements", elements, level=share(scores.policy["simulation"]["level"])),
        pictures("blast-services"),
        table_of("service-blast", services),
        *_parts_on_predictions(scores, pictures),
    ]
    paragraphs = [text, *dict.fromkeys(blast.details["learned_judged"]["verdict"])]
    return Section("blast-radius", "Blast radius", paragraphs, parts, warnings)


def _parts_on_predictions(scores: Assessment, pictures: Pictures) -> list[Part]:
    """Return the parts on validation, and on experiments, best first."""
    measures = scores.blast_radius.details["calibration_measures"]
    measures = measures.rename(columns={"lo": "value_lo", "hi": "value_hi"})
    measures = measures[measures["n"].gt(0)]  # a prior is no observation
    tried = scores.experiments.frame.reset_index()
    names = element_labels(tried["element_kind"], tried["element"])
    places = [element_label(*place.split(" ", 1)) for place in tried["safest"]]
    return [
        table_of("predictions-held", measures),
        pictures("experiments"),
        table_of("experiments", tried.assign(label=names, place=places)),
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
    # services that may break, and those of which nothing can be said
    may_n = frame["breaking_unknown_n"].gt(0).sum()
    blind_n = frame["breaking_n"].isna().sum()
    remedies = churn.details["remedies"]
    parts: list[Part] = [
        pictures("upgrade-churn"),
        table_of("churn-table", frame),
        pictures("clocks"),
        table_of("calendar", churn.details["calendar"]),
        table_of("remedies", remedies, may_n=may_n, blind_n=blind_n),
        table_of("breaking", breaking),
    ]
    return Section("upgrade-churn", "Upgrade churn and clocks", [text], parts)


_SHOWN_OF_BREAKS = ["service_id", "host_id", "change", "certainty", "what", "why"]


def targets(scores: Assessment, pictures: Pictures) -> Section:
    """Return the section on where each service could run."""
    result = scores.targets
    text = (
        "Every service on every target of the policy: what the target refuses, the gates as they "
        "would be there, the upgrade hours of your teams, the change of the blast radius, and "
        "the cost by your own prices. Without a size or a price a cost is unknown."
    )
    columns = columns_of("targets-table")[:-1]  # whether it is beaten
    parts: list[Part] = [
        pictures("targets"),
        table_of("targets-what", result.details["targets"]),
        table_of("targets-open", result.options().reset_index(), columns),
        table_of("targets-table", result.frame.reset_index()),
    ]
    return Section("targets", "Where to: targets compared", [text], parts)
