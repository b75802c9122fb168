"""The report of a quarter: the same parts told as a page, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from assess.errors import AssessError
from assess.execution import tell
from assess.figures import Band, band_of
from assess.inventory import Inventory
from assess.policy.policy import Policy
from assess.report import argument, background, cards, history, sections, twins
from assess.report.changes import changes
from assess.report.model import Appendix, Card, Picture, Section, Table, slug
from assess.report.pictures import Pictures
from assess.report.printing import pdf
from assess.report.record import decision_record
from assess.report.render import document, page
from assess.score.assessment import Assessment
from assess.score.backtest.backtest import Backtest
from assess.score.claims import Claims
from assess.score.result import Result, encode
from assess.score.upgrade_churn.history import History, joined
from assess.words import plain

JSON_VERSION = 1
WORK, STEPS = "report", 7  # what its progress is called, and in how many parts it is told


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """What a meeting reads.

    Attributes
    ----------
    scores : Assessment
        The quarter that it tells of.
    earlier : Assessment or None
        The quarter before.
    claims : Claims
        The argument, judged on this fleet.
    backtest : Backtest or AssessError
        What the quarter before foretold, or why that cannot be judged.
    headline : str
        The sentence to start with.
    sections : tuple of Section
        In the order to read.
    """

    scores: Assessment
    earlier: Assessment | None
    claims: Claims
    backtest: Backtest | AssessError
    headline: str
    sections: tuple[Section, ...]

    @property
    def fleet(self) -> str:
        """How much there is of what, and when it was seen."""
        inventory, at = self.scores.inventory, self.scores.provenance.snapshot_at
        counted = ("services", "hosts", "workloads", "incidents")
        counts = ", ".join(f"{len(inventory[name])} {name}" for name in counted)
        return f"{counts}; snapshot of {at:%d %B %Y}."

    @property
    def tally(self) -> list[tuple[str, int, Band]]:
        """Services per label, in the order of the ranking."""
        counts = self.scores.what_next.frame["label"].value_counts(sort=False)
        return [(str(label), int(n), band_of(label)) for label, n in counts.items()]

    @property
    def results(self) -> list[Result]:
        """Every score that it tells of."""
        tested = [self.backtest] if isinstance(self.backtest, Backtest) else []
        return [*self.scores.results.values(), self.claims, *tested]

    def tables(self) -> list[Table]:
        """Give every table.

        Returns
        -------
        list of Table
            In the order of the page.
        """
        return [part for section in self.sections for part in section.of(Table)]

    def pictures(self) -> list[Picture]:
        """Give every figure.

        Returns
        -------
        list of Picture
            In the order of the page.
        """
        return [part for section in self.sections for part in section.of(Picture)]

    def to_dict(self) -> dict[str, Any]:
        """Give the report as plain JSON types.

        Returns
        -------
        dict
            Origin, headline, sections with their tables, and every score.
        """
        return {
            "schema_version": JSON_VERSION,
            **self.scores.provenance.to_dict(),
            "previous_quarter": self.earlier.provenance.quarter if self.earlier else None,
            "headline": self.headline,
            "labels": {label: count for label, count, _ in self.tally},
            "sections": [
                {
                    "id": section.id,
                    "title": section.title,
                    "text": plain(section.text),
                    "warnings": plain(section.warnings),
                    "tables": [table.to_dict() for table in section.of(Table)],
                }
                for section in self.sections
            ],
            "scores": {r.name.replace("_", "-"): plain(r.rows()) for r in self.results},
        }

    def to_html(self) -> str:
        """Tell the report as one page.

        Returns
        -------
        str
            HTML that asks the network for nothing.
        """
        return page(self._values())

    def to_pdf(self, appendix: Sequence[Appendix] = ()) -> bytes:
        """Print the report, with page numbers and contents.

        Parameters
        ----------
        appendix : sequence of Appendix
            What to print behind it, such as executed notebooks.

        Returns
        -------
        bytes
            The PDF.

        Raises
        ------
        AssessError
            Where there is no Chromium to print with.
        """
        values = {**self._values(), "appendix": appendix}
        at = self.scores.provenance.snapshot_at
        return pdf(lambda pages: page({**values, "pages": pages}), at)

    def to_markdown(self) -> str:
        """Tell the report as Markdown.

        Returns
        -------
        str
            Its figures are named as files below ``figures/``.
        """
        return document("page.md", self._values())

    def decision_record(self, service_id: str, *, existing: str = "") -> str:
        """Write the decision record of a service.

        Parameters
        ----------
        service_id : str
            The service.
        existing : str, default ""
            The record of an earlier run: what people wrote in it is kept.

        Returns
        -------
        str
            Markdown.

        Raises
        ------
        AssessError
            Where there is no such service.
        """
        return decision_record(
            service_id, self.scores, earlier=self.earlier, existing=existing
        )

    @property
    def candidates(self) -> list[str]:
        """Services that do not run in containers yet, best first."""
        frame = self.scores.what_next.frame
        return [str(name) for name in frame.index[frame["p_top"].notna()]]

    def save_html(self, path: str | Path) -> None:
        """Write the page.

        Parameters
        ----------
        path : str or Path
            The file.
        """
        _write(Path(path), self.to_html())

    def save_markdown(self, path: str | Path) -> None:
        """Write the Markdown twin.

        Parameters
        ----------
        path : str or Path
            The file.
        """
        _write(Path(path), self.to_markdown())

    def save_json(self, path: str | Path) -> None:
        """Write the JSON twin.

        Parameters
        ----------
        path : str or Path
            The file.
        """
        _write(Path(path), encode(self.to_dict()) + "\n")

    def to_summary(self) -> str:
        """Tell what fits into a comment on a pull request, or into a chat.

        Returns
        -------
        str
            Markdown.
        """
        return twins.summary(self)

    def save_summary(self, path: str | Path) -> None:
        """Write the summary.

        Parameters
        ----------
        path : str or Path
            The file.
        """
        _write(Path(path), self.to_summary())

    def save_csv(self, directory: str | Path) -> None:
        """Write every table as a CSV file, whole and unrounded.

        Parameters
        ----------
        directory : str or Path
            Where to; one file per table.
        """
        twins.save_csv(self, Path(directory))

    def save(self, directory: str | Path) -> None:
        """Write everything: page, twins, tables, figures and decision records.

        Parameters
        ----------
        directory : str or Path
            Where to; what people wrote into the decision records there is kept.
        """
        home = Path(directory)
        self.save_json(home / "report.json")
        self.save_csv(home / "tables")
        self.save_summary(home / "summary.md")
        tell(WORK, 5, STEPS)
        for service_id in self.candidates:
            file = home / "decisions" / f"{slug(service_id)}.md"
            existing = file.read_text("utf-8") if file.exists() else ""
            _write(file, self.decision_record(service_id, existing=existing))
        tell(WORK, 6, STEPS)
        for picture in self.pictures():
            _write(home / "figures" / f"{picture.id}.svg", picture.svg)
        self.save_markdown(home / "report.md")
        self.save_html(home / "index.html")
        tell(WORK, STEPS, STEPS)

    def save_history(
        self, directory: str | Path, past: Mapping[str, pd.DataFrame]
    ) -> None:
        """Write the page of all quarters, and its tables.

        Parameters
        ----------
        directory : str or Path
            Where to.
        past : mapping of str to DataFrame
            By quarter, oldest first, as `history.of_scores` gives it.
        """
        home, told = Path(directory), history.section(past)
        names = {"title": f"History to {list(past)[-1]}", "headline": told.title}
        values = {**self._values(), **names, "sections": (told,), "anchors": ()}
        _write(home / "history.html", page(values))
        twins.write_csv(
            {table.id: table.told for table in told.of(Table)}, home / "tables"
        )

    def _values(self) -> dict[str, Any]:
        """Gather what the templates name."""
        at = self.scores.provenance
        return {
            "title": f"Readiness report {at.quarter}",
            "quarter": at.quarter,
            "headline": self.headline,
            "fleet": self.fleet,
            "tally": self.tally,
            "anchors": {
                card.id for section in self.sections for card in section.of(Card)
            },
            "sections": self.sections,
            "appendix": (),
            "pages": {},
            "origin": self._origin(),
        }

    def _origin(self) -> list[tuple[str, str]]:
        """List everything that the same bytes take."""
        at = self.scores.provenance
        command = f"assess report <snapshot of {at.snapshot_at:%Y-%m-%d}>"
        if self.earlier:
            before = self.earlier.provenance.snapshot_at
            command += f" --previous <snapshot of {before:%Y-%m-%d}>"
        return [
            ("Snapshot", f"{at.snapshot_at:%Y-%m-%d %H:%M} UTC ({at.quarter})"),
            ("Policy", at.policy_hash),
            ("Reference facts", f"of {at.reference_date}"),
            ("assess", f"version {at.version}, seed {at.seed}"),
            ("Rebuild", command),
        ]

    def __repr__(self) -> str:
        """Say what it is, without address or clock."""
        at = self.scores.provenance
        return f"<Report {at.quarter}: {self.headline} Policy {at.policy_hash}>"

    def _repr_html_(self) -> str:
        tally = " · ".join(f"{band.symbol} {label} {n}" for label, n, band in self.tally)
        return (
            f"<p><b>{escape(self.headline)}</b></p><p>{escape(tally)}</p>"
            f"<p>{escape(repr(self.scores.inventory)[1:-1])}. "
            "<code>report.save_html(path)</code> writes the page.</p>"
        )


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def build_report(  # noqa: PLR0913 - one for each time that it tells of
    inventory: Inventory,
    policy: Policy,
    *,
    previous: Inventory | None = None,
    history: History | None = None,
    since: History | None = None,
    told: Mapping[str, Any] | None = None,
) -> Report:
    """Score a snapshot and tell it to a meeting.

    Parameters
    ----------
    inventory : Inventory
        The fleet in this quarter.
    policy : Policy
        The policy in force; it also scores the earlier snapshot, so that only the fleet and the
        evidence differ.
    previous : Inventory, optional
        The fleet in the quarter before.
    history : History, optional
        What the snapshots before that one tell of upgrades, as `upgrade_history` gives it.
    since : History, optional
        What those between the two tell.
    told : mapping, optional
        The report of that quarter as it was written then, as `Report.to_dict` gives it: it shows
        what another policy, other reference facts or another version changed.

    Returns
    -------
    Report
        The same inventory, policy and version give the same bytes.
    """
    tell(WORK, 1, STEPS)
    earlier = None
    past = history
    if previous is not None:
        earlier = Assessment(previous, policy, history)
        past = earlier.upgrades
    scores = Assessment(inventory, policy, joined([past, since]), earlier)
    before = earlier.readiness if earlier else None
    drawn = Pictures(scores)
    tell(WORK, 2, STEPS)
    judged = scores.claims
    tested = _backtest(scores)
    tell(WORK, 3, STEPS)
    drawn.compare(scores.readiness, before, judged, tested)
    parts = (
        sections.decision(scores),
        changes(scores, earlier, drawn, told=told),
        sections.ranking(scores, drawn),
        sections.blast_radius(scores, drawn),
        sections.upgrade_churn(scores, drawn),
        argument.claims(judged, drawn),
        cards.cards(scores, drawn),
        background.unknowns(scores),
        background.coverage(scores, drawn),
        argument.backtest(tested, drawn),
        background.method(scores),
    )
    tell(WORK, 4, STEPS)
    return Report(scores, earlier, judged, tested, sections.headline(scores), parts)


def _backtest(scores: Assessment) -> Backtest | AssessError:
    """Return the back-test of the earlier quarter, or why there is none."""
    try:
        return scores.backtest
    except AssessError as error:
        return error
