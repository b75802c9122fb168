"""The main sections of the report: the first screen, decision, ranking, blast radius, upgrade churn."""

from collections.abc import Iterable, Iterator
from functools import partial

from pandas import DataFrame, Series

from assess import figures
from assess.errors import AssessError, counted
from assess.frames import surely
from assess.report.background import incomplete, unknown_facts, unsupplied
from assess.report.changes import ONLY_ONE, crossed, label_changes
from assess.report.model import (
    Column,
    Fact,
    Part,
    Section,
    columns_of,
    in_words,
    kinds_shown,
    picture,
    picture_of,
    table_of,
    unlooked_hosts,
)
from assess.score.assessment import Assessment
from assess.score.incidents import CONTAINER, exposure
from assess.words import element_label, element_labels, sentence_list, share

MOVES = ("MOVE NOW", "PILOT")
SIDES = ("candidates", "services in containers")  # by whether they run in containers
NAMED = 3  # services named in a sentence
RISKS = "risks"  # whose numbers are more precise


def headline(scores: Assessment) -> str:
    """Return the decision in one sentence."""
    frame = scores.what_next.frame
    if frame.empty:
        return "Nothing to decide: the snapshot has no services."
    first = _first_wave(frame)
    movers = first.index[first["label"] == "MOVE NOW"]
    if len(movers):
        return f"Move {_listing(movers)} next."
    if len(first):
        return f"Move nothing yet; pilot {_listing(first.index)}."
    waiting = frame.index[frame["label"].isin(MOVES)]
    if len(waiting):
        return (
            f"Move nothing yet: the exposure budget has no room for {_listing(waiting)}."
        )
    return nothing_moves(frame, is_all_seen=not unlooked_hosts(scores))


def nothing_moves(frame: DataFrame, *, is_all_seen: bool = True) -> str:
    """Return the reason why nothing moves: one of four, each with other work to do.

    Services that nobody named may run on hosts that no source looked into.
    """
    candidates = frame.loc[frame["p_top"].notna(), "label"]
    if candidates.empty:
        known = "" if is_all_seen else "known "
        work = _work_inside(frame["label"])
        return f"Nothing is left to move: every {known}service runs in containers{work}."
    if candidates.eq("NEVER").all():
        return f"No candidates: none of the {len(candidates)} services outside containers may move."
    if candidates.isin(["NOT DECIDABLE", "NEVER"]).all():
        return "Move nothing yet: too little is known about all that may move."
    return "Move nothing this quarter: gates or low readiness block every candidate."


def _work_inside(labels: Series) -> str:
    """Return what to do about services in containers: which to pull back or find out about."""
    back = labels.index[labels == "PULL BACK"]
    open_n = sum(labels == "NOT DECIDABLE")
    work = f"; pull back {_listing(back)}" if len(back) else ""
    if open_n:
        work += f"; find out about {counted(open_n, 'service')}"
    return work


def answers(scores: Assessment) -> list[Fact]:
    """Return the answers to the questions of a decision meeting."""
    ranked = scores.what_next.frame
    if ranked.empty:
        nothing = "The snapshot needs a services frame, or workloads that name services."
        return [Fact("Why", nothing, "coverage")]
    since = "Changed"
    if scores.earlier:
        since = f"{since} since {scores.provenance.since(scores.earlier.provenance)[0]}"
    return [
        Fact("Why", " ".join(_reasons(scores)), "ranking"),
        Fact("What not to move", " ".join(_refused(ranked)), "ranking"),
        Fact("What could go wrong", " ".join(_risks(scores)), "blast-radius"),
        Fact(since, " ".join(_changes(scores)), "changes"),
        Fact("What nobody knows", " ".join(_gaps(scores)), "unknowns"),
    ]


def _first_wave(frame: DataFrame) -> DataFrame:
    in_wave = surely(frame["wave"] == 1)
    return frame[in_wave & frame["label"].isin(MOVES)]


def _listing(names: Iterable[str]) -> str:
    return sentence_list(map(figures.short, names), most=NAMED)


def _reasons(scores: Assessment) -> Iterator[str]:
    """Yield why these services come first, and how many may move at a time."""
    ranked = scores.what_next
    for row in _first_wave(ranked.frame).head(NAMED).itertuples():
        points = in_words(row._asdict(), "readiness")
        yield (
            f"{figures.short(row.Index)} passes every gate, with a readiness of {points} of 100. "
            f"It is in the top {ranked.k} in {share(row.p_top)} of all weightings of the criteria, "
            "even if every unknown counts against it."
        )
    yield _most_often_first(scores)
    yield _room(scores)


def _room(scores: Assessment) -> str:
    """Return how many services may move at a time, and the experience behind that number."""
    n = scores.what_next.budget
    most = f"Exposure budget: {counted(n, 'service')} at a time."
    # as the plan reads it: this snapshot alone
    watched = exposure(scores.inventory.running, scores.policy)
    if not watched.is_covered:
        return f"{most} No source says in which months incidents were watched."
    incidents_n, months = watched.in_containers
    loose_n = incidents_n - watched.total(side=CONTAINER)[0]
    loose = f" ({loose_n} of them perhaps outside containers)" if loose_n else ""
    settings = scores.policy["what_next"]
    return (
        f"{most} Services in containers had {counted(incidents_n, 'incident')}{loose} in "
        f"{months:,.0f} service-months; the policy accepts {settings['appetite']:g} in "
        f"{settings['months']} months."
    )


def _most_often_first(scores: Assessment) -> str:
    """Name the service that most weightings rank first, and its wave if that is a later one."""
    ranked = scores.what_next
    is_first = ranked.frame["p_first"] > 0
    frame = ranked.frame[is_first]
    wave = frame.nlargest(1, "p_first")["wave"]
    if not surely(wave > 1).any():
        return ranked.headline
    return (
        f"{ranked.headline} It follows in wave {wave.iloc[0]}: each wave takes the services most often "
        f"in the top {ranked.k}, as far as calls, hours and the exposure budget allow."
    )


def _refused(frame: DataFrame) -> Iterator[str]:
    """Yield which services stay out of containers for good, and which leave them."""
    labels = frame["label"]
    never = frame.index[labels == "NEVER"]
    yield f"Never: {_listing(never) or 'no service, by what is known'}."
    back = frame.index[labels == "PULL BACK"]
    if len(back):
        yield f"Take out of containers: {_listing(back)}."


def _risks(scores: Assessment) -> Iterator[str]:
    frame = scores.what_next.frame
    movers = frame[frame["label"].isin(MOVES)]
    in_wave = _first_wave(frame)
    first = (movers if in_wave.empty else in_wave).head(1)
    rows = scores.services.loc[first.index].reset_index().to_dict("records")
    for row in rows:
        name = figures.short(row["service_id"])
        yield (
            f"If {name} fails, {in_words(row, 'blast_impact', RISKS)} of the fleet's criticality goes "
            f"down; the move changes what it and its hosts take down by "
            f"{in_words(row, 'blast_delta')} percentage points."
        )
        yield (
            f"Its upgrades take {in_words(row, 'churn_hours_per_year')} hours a year and fail "
            f"{in_words(row, 'churn_failures_per_year', RISKS)} times a year."
        )
    # the first row: the largest impact
    worst = scores.blast_radius.frame.head(1).reset_index()
    (name,) = element_labels(worst["element_kind"], worst["element"])
    lost = in_words(worst.iloc[0].to_dict(), "impact", RISKS)
    yield f"The largest single failure is {figures.short(name)}: {lost} goes down."
    if not (rows or kinds_shown(scores)):
        yield "Nothing is proposed to move, and no source read what services run on."


def _changes(scores: Assessment) -> Iterator[str]:
    earlier = scores.earlier
    if earlier is None:
        yield ONLY_ONE
        return
    moved = crossed(scores, earlier)
    for way, names in moved.items():
        yield f"{way} containers: {_listing(names) or 'no service'}."
    table = label_changes(scores, earlier)
    new_n = sum(table["before"] == "not there")
    gone_n = sum(table["after"] == "gone")
    changed_n = len(table) - new_n - gone_n
    counts = {"changed label": changed_n, "new service": new_n, "removed service": gone_n}
    changes = [counted(n, noun) for noun, n in counts.items() if n]
    yield f"{sentence_list(changes) or 'No label changed'}."


def _gaps(scores: Assessment) -> Iterator[str]:
    frame = scores.what_next.frame
    by_side = frame.groupby(frame["p_top"].isna())["label"]
    undecided = [
        f"{open_n} of {len(labels)} {SIDES[is_inside]}"
        for is_inside, labels in by_side
        if (open_n := sum(labels == "NOT DECIDABLE"))
    ]
    if undecided:
        yield f"Not decidable, because a gate is unknown: {sentence_list(undecided)}."
    for row in unknown_facts(scores).head(1).itertuples():
        yield f"Find out first, for {counted(row.services_n, 'service')}: {row.fact}."
    if hosts := unlooked_hosts(scores):
        yield f"No source says what runs on {counted(len(hosts), 'host')}: {_listing(hosts)}."
    if missing := unsupplied(scores):
        yield f"Not supplied at all: {', '.join(missing)}."
    if calls_n := len(incomplete(scores)):
        yield f"Not answered in full: {counted(calls_n, 'call')} to sources."
    try:
        yield scores.backtest.headline.split(":")[0] + "."
    except AssessError:
        yield "No forecast of an earlier quarter was checked."


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


def ranking(scores: Assessment) -> Section:
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
        picture_of("what-next", scores, k=k, draws=policy.draws, seed=policy.seed),
        table_of("ranking-table", frame, k=k),
        picture_of("acceptability", scores),
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


def blast_radius(scores: Assessment) -> Section:
    """Return the section on the blast radius of elements and services."""
    blast = scores.blast_radius
    drawn = figures.blast_radius_data(blast).set_index(["element_kind", "element"])
    elements = blast.shown.reindex(drawn.index).assign(label=drawn["label"]).reset_index()
    elements = elements[elements["element_kind"].ne("service")]
    order = figures.blast_services_data(blast)["service_id"]
    services = blast.details["services"].reindex(order).reset_index()
    observed = surely(services["dependencies_observed"])
    warnings = []
    if unseen := (~observed).sum():
        warnings.append(
            f"No source observed the dependencies of {unseen} of {len(services)} services. "
            "That is unknown, not safe: their upper bounds are wider."
        )
    if uncalled := (~surely(services["callers_seen"])).sum():
        warnings.append(
            f"No source saw who calls {uncalled} of {len(services)} services. Anybody may: traces "
            "or connections over a week would narrow it."
        )
    if hosts := unlooked_hosts(scores):
        unlooked = counted(len(hosts), "host")
        warnings.append(
            f"No source says what runs on {unlooked}, nor what goes down there."
        )
    text = (
        "Share of the fleet's criticality that goes down with a failing element: what is "
        "expected, and up to what can be reached. Callers often survive a failure: the "
        "probability that one goes down comes from the policy, or is learned from failures."
    )
    drawing = partial(figures.blast_radius, blast, kinds=kinds_shown(scores))
    parts: list[Part] = [
        picture("blast-elements", drawing),
        table_of("elements", elements, level=share(scores.policy["simulation"]["level"])),
        picture_of("blast-services", scores),
        table_of("service-blast", services),
        *_parts_on_predictions(scores),
    ]
    paragraphs = [text, *dict.fromkeys(blast.details["learned_judged"]["verdict"])]
    return Section("blast-radius", "Blast radius", paragraphs, parts, warnings)


def _parts_on_predictions(scores: Assessment) -> list[Part]:
    """Return the parts on validation, and on experiments, best first."""
    measures = scores.blast_radius.details["calibration_measures"]
    measures = measures.rename(columns={"lo": "value_lo", "hi": "value_hi"})
    measures = measures[measures["n"].gt(0)]  # a prior is no observation
    tried = scores.experiments.frame.reset_index()
    names = element_labels(tried["element_kind"], tried["element"])
    places = [element_label(*place.split(" ", 1)) for place in tried["safest"]]
    return [
        table_of("predictions-held", measures),
        picture_of("experiments", scores),
        table_of("experiments", tried.assign(label=names, place=places)),
    ]


def upgrade_churn(scores: Assessment) -> Section:
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
        picture_of("upgrade-churn", scores),
        table_of("churn-table", frame, level=share(scores.policy.level)),
        picture_of("clocks", scores),
        table_of("calendar", churn.details["calendar"]),
        table_of("remedies", remedies, may_n=may_n, blind_n=blind_n),
        table_of("breaking", breaking),
    ]
    return Section("upgrade-churn", "Upgrade churn and clocks", [text], parts)


_SHOWN_OF_BREAKS = ["service_id", "host_id", "change", "certainty", "what", "why"]


def targets(scores: Assessment) -> Section:
    """Return the section on where each service could run."""
    result = scores.targets
    text = (
        "Every service on every target of the policy: what the target refuses, the gates as they "
        "would be there, the upgrade hours of your teams, the change of the blast radius, and "
        "the cost by your own prices. Without a size or a price a cost is unknown."
    )
    columns = columns_of("targets-table")[:-1]  # whether it is beaten
    parts: list[Part] = [
        picture_of("targets", scores),
        table_of("targets-what", result.details["targets"]),
        table_of("targets-open", result.options().reset_index(), columns),
        table_of("targets-table", result.frame.reset_index()),
    ]
    return Section("targets", "Where to: targets compared", [text], parts)
