"""The decision record of one service: one page for an architecture review meeting."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from assess import reference
from assess.errors import AssessError
from assess.figures import band_of, short
from assess.frames import Row
from assess.policy.targets import STAY
from assess.report import cards
from assess.report.changes import changed_checks
from assess.report.model import Table, in_words, table_of
from assess.report.render import Values, document, on_one_page, render_page
from assess.score.assessment import Assessment
from assess.score.readiness.gates import NOT_DECIDABLE
from assess.score.result import records_by
from assess.words import UNKNOWN, is_unknown, sentence_list, word

_KEPT = re.compile(r"<!-- keep: ([a-z-]+) -->.*?<!-- end: \1 -->", re.DOTALL)
_MARK = re.compile(r"<!--\s*(?:keep|end)\s*:", re.IGNORECASE)
_HINT = "_Write here: "
_UNTOUCHED = re.compile(rf"-->\n{_HINT}.*\n<!--")
SHOWN = 8
MOVES = 4  # targets of the options
LINE = 400  # characters of a line
Links: TypeAlias = Sequence[tuple[str, str]]
TOP = 100  # points of a dimension without a flaw


def decision_record(
    service_id: str,
    scores: Assessment,
    *,
    existing: str = "",
) -> str:
    """Write the decision record of a service; text that people wrote in the old one is kept."""
    return keep(document("record.md", _values(service_id, scores)), existing)


def record_page(
    service_id: str,
    scores: Assessment,
    *,
    existing: str = "",
    links: Links = (),
    most: int | None = None,
) -> str:
    """Write the record as an HTML page; ``most`` is the number of lines of each list."""
    keep("", existing)  # refuses a damaged record
    gates = scores.rows_of("gates", service_id)
    open_n = sum(gate["state"] != "pass" for gate in gates)
    values = _values(service_id, scores, most or max(SHOWN - open_n // 2, 1))
    words = {"words": _words(existing), "links": links}
    return render_page("record.html", {**values, **words})


def record_pdf(
    service_id: str,
    scores: Assessment,
    *,
    existing: str = "",
) -> bytes:
    """Print the record on one page: lists are cut further until it fits."""
    pages = (
        record_page(service_id, scores, existing=existing, most=most)
        for most in range(SHOWN, 0, -1)
    )
    return on_one_page(pages, scores.provenance.snapshot_at)


def _words(existing: str) -> dict[str, str]:
    """Return the text of people between the marks of a Markdown record, by mark."""
    words: dict[str, str] = {}
    for match in _KEPT.finditer(existing):
        text = "\n".join(match[0].splitlines()[1:-1]).strip()
        if text and not text.startswith(_HINT):
            before = words.get(match[1])
            words[match[1]] = f"{before}\n{text}" if before else text
    return words


def _values(
    service_id: str,
    scores: Assessment,
    most: int = SHOWN,
) -> Values:
    """Return the values of the templates; lists have at most so many lines."""
    whole = _whole(service_id, scores)
    return {
        **whole,
        "options": [*whole["first"], *whole["moves"][:most], *whole["last"]],
        **{name: _cut(whole[name], most) for name in _LISTS},
    }


_LISTS = ("consequences", "unknown", "changes", "since")


@lru_cache(maxsize=1)
def _whole(
    service_id: str,
    scores: Assessment,
) -> Values:
    """Gather the values of the templates, once for Markdown, page and paper; nothing is cut."""
    rows = _rows(scores)
    # fails for an unknown name, with the nearest known one
    row = rows.get(service_id) or dict(scores.what_next.row(service_id))
    at = scores.provenance
    return {
        "service_id": service_id,
        "is_invented": at.is_invented,
        "quarter": at.quarter,
        "origin": f"policy {at.policy_hash}, {_facts(scores)}",
        "label": row["label"],
        "band": band_of(row["label"]),
        "before_waivers": _before_waivers(row),
        "context": _context(row, scores),
        "drivers": _drivers(row, scores),
        "tables": _tables(row, scores),
        **_options(row, scores),
        "why": cards.facts(row, scores)[0],
        "consequences": _consequences(row, scores),
        "unknown": _unknown(service_id, scores),
        "changes": _changes(service_id, scores),
        "before": at.since(scores.earlier.provenance)[0] if scores.earlier else "",
        "since": list(_since(service_id, scores)),
    }


@lru_cache(maxsize=1)
def _rows(scores: Assessment) -> dict[str, Row]:
    """Return every service as the inventory and the scores know it."""
    known = scores.inventory.by_service
    scored = scores.services
    others = known.drop(columns=scored.columns, errors="ignore")
    rows = scored.join(others).reset_index().to_dict("records")
    return {row["service_id"]: row for row in rows}


def _cut(lines: list[str], most: int) -> list[str]:
    """Return the first lines, each of a readable length, and the number of the others."""
    rest = len(lines) - most
    shown = [short(line, LINE) for line in lines[:most]]
    return [*shown, *([f"and {rest} more"] if rest > 0 else [])]


def _facts(scores: Assessment) -> str:
    """Write the day of the facts, with a warning if they are too old."""
    is_old = reference.outdated(scores.inventory.snapshot_at)
    old = f", more than {reference.STALE_DAYS} days before the snapshot" if is_old else ""
    return f"reference facts of {scores.provenance.reference_date}{old}"


def written_before(file: Path) -> str:
    """Return the text of an existing record, which a board may have edited."""
    if not file.is_file():
        return ""
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AssessError(
            f"{file}: the record that is there cannot be read ({error}), so it is left as it is",
            hint="save it as UTF-8, or name another file",
        ) from error


def keep(text: str, existing: str) -> str:
    """Carry over text of people from an earlier record; blocks without a place come last."""
    # A damaged mark would lose what it marks, so such a record is refused.
    if _MARK.search(_KEPT.sub("", existing)):
        raise AssessError(
            "a record has a keep mark without its end, or an end without its keep",
            hint="mend the mark, or move the text elsewhere and delete the record",
        )
    blocks: dict[str, list[str]] = {}
    for match in _KEPT.finditer(existing):
        if not _UNTOUCHED.search(match[0]):
            blocks.setdefault(match[1], []).append(match[0])

    def kept(match: re.Match[str]) -> str:
        own = blocks.get(match[1])
        return own.pop(0) if own else match[0]

    merged = _KEPT.sub(kept, text)
    rest = [f"{block}\n" for several in blocks.values() for block in several]
    return "\n".join([merged, *rest])


def _before_waivers(row: Row) -> str:
    """Write the label without waivers, if it differs."""
    before = row["label_before_waivers"]
    if not isinstance(before, str) or before == row["label_gates"]:
        return ""
    return f", by a waiver; without it {before}"


def _context(row: Row, scores: Assessment) -> list[str]:
    names = ("kind", "env", "tier", "platform", "owner", "lifecycle")
    known = [f"{name} {word(row[name])}" for name in names if not is_unknown(row[name])]
    missing = [name for name in names if is_unknown(row[name])]
    parts = [f"Service: {', '.join(known)}."] if known else []
    parts += [f"Not known of it: {sentence_list(missing)}."] if missing else []
    return [" ".join(parts), *cards.facts(row, scores)[1:]]


def _drivers(row: Row, scores: Assessment) -> list[str]:
    """Count gates passed and weightings won, and compare the boards."""
    gates = scores.rows_of("gates", row["service_id"])
    passed = sum(gate["state"] == "pass" for gate in gates)
    lines = [f"Gates that pass: {passed} of {len(gates)}."]
    if pd.notna(row["p_first"]) and row["p_first"] > 0:
        lines.append(
            f"First of all candidates in {in_words(row, 'p_first')} of all weightings of the "
            "criteria."
        )
    boards = scores.rows_of("boards", row["service_id"])
    other = [board for board in boards if board["label"] != row["label"]]
    if other:
        labels = [f"{board['board']} {board['label']}" for board in other]
        lines.append(f"Under the weights of other boards: {', '.join(labels)}.")
    elif boards:
        lines.append(f"Same label under the weights of all {len(boards)} boards.")
    return lines


def _is_inside(row: Row) -> bool:
    """Return whether it runs in containers already, and so does not compete for a move."""
    return bool(pd.isna(row["p_top"]))


def _tables(row: Row, scores: Assessment) -> list[Table]:
    """List gates that do not pass, criteria of the ranking, and dimensions of readiness."""
    service_id = row["service_id"]
    rows = scores.rows_of("gates", service_id)
    gates = [_with_task(gate) for gate in rows if gate["state"] != "pass"]
    criteria = [] if _is_inside(row) else scores.rows_of("criteria", service_id)
    dimensions = scores.rows_of("dimensions", service_id)
    weak = sorted(
        (d for d in dimensions if d["lo"] < TOP), key=lambda d: d["contribution"]
    )
    rest = f"; the others have {TOP} points" if len(weak) < len(dimensions) else ""
    return [
        table_of("record-gates", gates),
        table_of("record-criteria", _readable(criteria, "criterion")),
        table_of("record-dimensions", _readable(weak, "dimension"), rest=rest),
    ]


def _with_task(gate: Row) -> Row:
    """Add the fact to find out to a gate of unknown state."""
    asked = gate["evidence"].replace("not known:", "find out", 1)
    task = {"label": NOT_DECIDABLE, "evidence": asked}
    return {**gate, **task} if gate["state"] == "unknown" else gate


def _readable(rows: list[Row], column: str) -> list[Row]:
    """Name the bounds of intervals after their point, and replace underscores in names."""
    readable = []
    for row in rows:
        name = row[column].replace("_", " ")
        ends = {"point_lo": row["lo"], "point_hi": row["hi"]}
        readable.append({**row, **ends, column: name})
    return readable


Option: TypeAlias = tuple[str, str]


def _options(row: Row, scores: Assessment) -> dict[str, list[Option]]:
    pain = in_words(row, "blast_expected_minutes_per_year")
    hours = in_words(row, "churn_hours_per_year")
    stay = (
        f"Expected per year: minutes of outage {pain}, hours of upgrades {hours}; "
        f"{_end_of_life(row['churn_days_to_eol'])}."
    )
    if row["label"] == "PULL BACK":
        forbidden = "A gate forbids containers for it."
        steps = [("Pull it back to hosts.", forbidden), ("Keep it until then.", stay)]
        return {"first": steps, "moves": [], "last": []}
    first = _first_step(row)
    moves = [] if row["label"] == "NEVER" else _moves(row["service_id"], scores)
    if _is_inside(row):
        kept = [*first, ("Keep it in containers as it is.", stay)]
        return {"first": kept, "moves": moves, "last": []}
    return {"first": first, "moves": moves, "last": [("Leave it where it is.", stay)]}


def _first_step(row: Row) -> list[Option]:
    if row["label"] in _AS_IT_IS:
        return []
    if row["label"] == NOT_DECIDABLE:
        return [("Find out first.", "Answer the open facts below, then decide again.")]
    title = "Keep it and fix it." if _is_inside(row) else "Prepare first."
    return [(title, "Resolve the gates and checks below, then decide again.")]


# labels with nothing to prepare or to fix
_AS_IT_IS = ("MOVE NOW", "PILOT", "LATER", "KEEP", "NEVER")


def _moves(service_id: str, scores: Assessment) -> list[Option]:
    places = _places(scores).get(service_id, [])[:MOVES]
    return [(f"Move it to {place['title']}.", move_of(place)) for place in places]


def move_of(place: Row) -> str:
    """Describe the changes by a move; unmeasured ones come last."""
    way = place["blockers"] or "nothing is in the way"
    hours = in_words(place, "hours_per_year")
    today = in_words(place, "here_hours_per_year")
    parts = [
        f"{place['verdict'].capitalize()}: {way}. Upgrades {hours} hours per year, here {today}"
    ]
    known = [(in_words(place, key), *words) for key, *words in _OF_A_MOVE]
    parts += [sentence.format(text) for text, sentence, _ in known if text != UNKNOWN]
    missing = [fact for text, _, fact in known if text == UNKNOWN]
    lacks = f" Not known: {sentence_list(missing)}." if missing else ""
    return f"{'; '.join(parts)}.{lacks}"


@lru_cache(maxsize=1)
def _places(scores: Assessment) -> dict[str, list[Row]]:
    """Return the targets to choose from, by service: title, and ``here_`` for where it is."""
    result = scores.targets
    titles = result.details["targets"].set_index("id")["title"]
    here = result.frame.xs(STAY, level="target").add_prefix("here_")
    rows = (
        result.options().drop(index=STAY, level="target", errors="ignore").reset_index()
    )
    named = rows["target"].map(titles).fillna(rows["target"])
    return records_by(rows.join(here, on="service_id").assign(title=named), "service_id")


def _end_of_life(days: Any) -> str:
    if pd.isna(days):
        return "next end of life unknown"
    if days < 0:
        return f"past its end of life for {-days:,.0f} days"
    return f"next end of life in {days:,.0f} days"


# of a move: the sentence about each measure, and the fact to find out where it is unknown
_OF_A_MOVE = (
    (
        "delta",
        "blast radius {} percentage points, minus is better",
        "the change of blast radius",
    ),
    ("cost_per_month", "{} a month", "cost (sizes, or prices in the policy)"),
    ("effort_hours", "{} hours of work to move", "effort (services.move_effort_hours)"),
)


_BLIND = "What upgrades break is not known in full: its engine or an image is unknown."


def _consequences(row: Row, scores: Assessment) -> list[str]:
    breaking = scores.rows_of("breaking", row["service_id"])
    # what will break comes before what may
    breaks = dict.fromkeys(
        f"Upgrades {hit['certainty']} break it: {hit['change']}, {hit['why']}."
        for hit in sorted(breaking, key=itemgetter("certainty"), reverse=True)
    )
    blind = scores.upgrade_churn.details["blind"]["service_id"].tolist()
    moved = (
        f"Blast radius of it and its hosts changes by {in_words(row, 'blast_delta')} percentage "
        "points; a negative value is better containment."
    )
    return [
        *[moved] * (not _is_inside(row)),
        f"Upgrades: {in_words(row, 'churn_hours_per_year')} hours and "
        f"{in_words(row, 'churn_failures_per_year')} failures per year.",
        *[_BLIND] * (row["service_id"] in blind),
        *breaks,
    ]


def _unknown(
    service_id: str,
    scores: Assessment,
) -> list[str]:
    """List the facts to find out; facts that decide the label come first."""
    facts = scores.rows_of("information", service_id)
    decisive = [fact for fact in facts if fact["decides"]]
    lines = [
        f"{fact['fact']}: {fact['label_if']} if favourable, else {fact['label_else']}."
        for fact in decisive
    ]
    known = {fact["fact"] for fact in (*decisive, *scores.rows_of("gates", service_id))}
    missing = [fact["fact"] for fact in scores.rows_of("missing", service_id)]
    return lines + [fact for fact in missing if fact not in known]


def _changes(
    service_id: str,
    scores: Assessment,
) -> list[str]:
    """List remedies of open gates, then the smallest sets of checks that change the label."""
    stops = [g for g in scores.rows_of("gates", service_id) if g["state"] in cards.STOPS]
    remedies = {gate["id"]: gate.get("remedy", "") for gate in scores.policy["gate"]}
    checks = {
        check["id"]: check.get("remedy", check["id"]) for check in scores.policy["check"]
    }
    failed = [gate["gate"] for gate in stops if gate["state"] == "fail"]
    lines = [f"{gate}: {remedies[gate]}" for gate in failed]
    if len(lines) < len(stops):
        lines.append("Find out the facts that are missing for the gates above.")
    for flip in scores.rows_of("flips", service_id):
        steps = " ".join(
            f"{checks.get(check, check)} ({check})" for check in flip["checks"]
        )
        lines.append(f"Leads to {flip['label']}: {steps}")
    return lines


@lru_cache(maxsize=1)
def _changed(scores: Assessment, earlier: Assessment) -> dict[Any, list[Row]]:
    return records_by(changed_checks(scores, earlier), "service_id")


def _since(
    service_id: str,
    scores: Assessment,
) -> Iterator[str]:
    if scores.earlier is None:
        return
    before = scores.earlier.what_next.frame["label"].get(service_id)
    if before is None:
        yield "New in the inventory."
        return
    after = _rows(scores)[service_id]["label"]
    yield (
        f"Label unchanged: {before}."
        if before == after
        else f"Label: {before}, now {after}."
    )
    changed = _changed(scores, scores.earlier).get(service_id)
    if not changed:
        yield "No answer to a check changed."
        return
    for check in changed:
        was, now = check["before"], check["after"]
        yield f"{check['check']}: {was}, now {now} ({check['kind']})."
