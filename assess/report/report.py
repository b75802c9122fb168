"""The report of a quarter: the same parts as a page, as Markdown and as JSON."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from itertools import chain
from pathlib import Path
from typing import Any

from pandas import DataFrame

from assess.errors import AssessError, counted
from assess.execution import beside, tell
from assess.figures import Band, band_of
from assess.frames import Row
from assess.report import cards, changes, explorer, render
from assess.report.model import (
    Appendix,
    Card,
    Picture,
    Section,
    Table,
    anchor,
    slug,
)
from assess.report.record import Links, decision_record, record_page, written_before
from assess.report.render import pdf
from assess.score.assessment import Assessment
from assess.score.backtest import Backtest
from assess.score.claims import Claims
from assess.score.result import Result, encoded
from assess.words import Json, plain
from assess.writing import write_beside, write_together

JSON_VERSION = 1
WORK = "report"  # name of the progress bar
STEPS = 7


@dataclass(frozen=True)
class Report:
    """The report of a quarter, for a decision meeting.

    Attributes
    ----------
    scores : Assessment
        The quarter of the report.
    claims : Claims
        The claims of the argument, tested on this fleet.
    backtest : Backtest or AssessError
        Predictions of the quarter before against what happened, or why there is no back-test.
    headline : str
        The decision in one sentence.
    sections : tuple of Section
        In reading order.
    """

    scores: Assessment
    claims: Claims
    backtest: Backtest | AssessError
    headline: str
    sections: tuple[Section, ...]

    @property
    def fleet(self) -> str:
        """Size of the fleet, and the day of the snapshot."""
        inventory = self.scores.inventory
        nouns = ("service", "host", "workload", "incident")
        sizes = [(len(inventory[f"{noun}s"]), noun) for noun in nouns]
        # an empty table does not show that there are none
        counts = [counted(n, noun) for n, noun in sizes if n or noun == "service"]
        return f"{', '.join(counts)}; snapshot of {inventory.snapshot_at:%d %B %Y}."

    @property
    def tally(self) -> list[tuple[str, int, Band]]:
        """Services per label, in the order of the ranking."""
        counts = self.scores.what_next.frame["label"].value_counts(sort=False)
        return [(str(label), int(n), band_of(label)) for label, n in counts.items()]

    @property
    def results(self) -> list[Result]:
        """Every score of the report."""
        tested = [self.backtest] if isinstance(self.backtest, Backtest) else []
        return [*self.scores.results.values(), self.claims, *tested]

    def tables(self) -> list[Table]:
        """List every table.

        Returns
        -------
        list of Table
            In the order of the page.
        """
        return render.tables_of(self.sections)

    def pictures(self) -> list[Picture]:
        """List every figure.

        Returns
        -------
        list of Picture
            In the order of the page.
        """
        return [part for section in self.sections for part in section.of(Picture)]

    def to_dict(self) -> Json:
        """Convert the report to plain JSON types.

        Returns
        -------
        dict
            Origin, headline, sections with their tables, and every score.
        """
        return self._document(list)

    def _document(self, rows_by: Callable[[Iterator[Any]], Any]) -> Json:
        """Return the report as plain JSON types; ``rows_by`` gathers the rows of a score."""
        previous = self.scores.previous
        return {
            "schema_version": JSON_VERSION,
            **self.scores.provenance.to_dict(),
            "previous_quarter": previous.quarter if previous else None,
            "headline": self.headline,
            "labels": {label: count for label, count, _ in self.tally},
            "sections": [
                {
                    "id": section.id,
                    "title": section.title,
                    "text": plain(section.text),
                    "facts": [asdict(fact) for fact in section.facts],
                    "warnings": plain(section.warnings),
                    "tables": [table.to_dict() for table in section.of(Table)],
                }
                for section in self.sections
            ],
            "scores": {
                result.name.replace("_", "-"): rows_by(_rows_of(result))
                for result in self.results
            },
        }

    def to_html(self) -> str:
        """Write the report as one page.

        Returns
        -------
        str
            HTML that loads nothing from the network.
        """
        return self._page({})

    def _page(self, beside: Mapping[str, Any]) -> str:
        """Write the page; ``beside`` says which files stand beside it."""
        place = explorer.of_report(self.scores)
        return render.page({**self._values(), "explorer": place, **beside})

    def to_pdf(self, appendix: Sequence[Appendix] = ()) -> bytes:
        """Print the report, with page numbers and contents.

        Parameters
        ----------
        appendix : sequence of Appendix
            Parts to print after the report, such as executed notebooks.

        Returns
        -------
        bytes
            The PDF.

        Raises
        ------
        AssessError
            If there is no Chromium to print with.
        """
        values = {**self._values(), "appendix": appendix}
        at = self.scores.provenance.snapshot_at
        return pdf(lambda pages: render.page({**values, "pages": pages}), at)

    def to_markdown(self) -> str:
        """Write the report as Markdown.

        Returns
        -------
        str
            Markdown that links its figures as files in ``figures/``.
        """
        return render.document("page.md", self._values())

    def decision_record(
        self,
        service_id: str,
        *,
        existing: str = "",
        links: Links | None = None,
    ) -> str:
        """Write the decision record of a service.

        Parameters
        ----------
        service_id : str
            The service.
        existing : str, default ""
            The Markdown record of an earlier run; text that people wrote in it is kept.
        links : sequence of (str, str), optional
            Titles and addresses of related pages. With them, the record is a page of its own.

        Returns
        -------
        str
            Markdown, or HTML with ``links``.

        Raises
        ------
        AssessError
            If there is no such service.
        """
        if links is None:
            return decision_record(service_id, self.scores, existing=existing)
        return record_page(service_id, self.scores, existing=existing, links=links)

    def save_html(self, path: str | Path) -> None:
        """Write the page.

        Parameters
        ----------
        path : str or Path
            The file.
        """
        write_beside(path, self.to_html())

    def save_markdown(self, path: str | Path) -> None:
        """Write the report as a Markdown file.

        Parameters
        ----------
        path : str or Path
            The file.
        """
        write_beside(path, self.to_markdown())

    def save_json(self, path: str | Path) -> None:
        """Write the report as a JSON file.

        Parameters
        ----------
        path : str or Path
            The file.
        """
        write_beside(path, chain(encoded(self._document(iter)), "\n"))

    def to_summary(self) -> str:
        """Write a summary that fits into a comment on a pull request, or into a chat.

        Returns
        -------
        str
            Markdown.
        """
        return render.summary(self._values(), self.claims, self.scores.provenance)

    def save_summary(self, path: str | Path) -> None:
        """Write the summary.

        Parameters
        ----------
        path : str or Path
            The file.
        """
        write_beside(path, self.to_summary())

    def save_csv(self, directory: str | Path) -> None:
        """Write every table as a CSV file, whole and unrounded.

        Parameters
        ----------
        directory : str or Path
            Directory; one file per table.
        """
        tables = render.csv_tables(self.sections, self.results)
        render.write_csv(tables, Path(directory))

    def save(self, directory: str | Path) -> None:
        """Write all files: page, Markdown, JSON, summary, tables, figures, decision records.

        Parameters
        ----------
        directory : str or Path
            Directory; text that people wrote in decision records there is kept.
        """
        home = Path(directory)
        with beside(self._save_pages, home) as written:
            self.save_json(home / "report.json")
            self.save_summary(home / "summary.md")
            tell(WORK, 5, STEPS)
            write_together(self._records(home / "decisions"))
            tell(WORK, 6, STEPS)
            written()
        tell(WORK, STEPS, STEPS)

    def _save_pages(self, home: Path) -> None:
        """Write the tables, the figures, and the pages that show them."""
        self.save_csv(home / "tables")
        write_together(
            (home / "figures" / f"{picture.id}.svg", picture.drawn.svg)
            for picture in self.pictures()
        )
        self.save_markdown(home / "report.md")
        links = [*_TWINS, *_history_of(home)]
        write_beside(
            home / "index.html", self._page({"is_beside": True, "related": links})
        )

    def _records(self, place: Path) -> Iterator[tuple[Path, str]]:
        """Yield the record of every service if it changed, for full cards also its page."""
        for at, service_id in enumerate(map(str, self.scores.what_next.frame.index)):
            name = slug(service_id)
            file = place / f"{name}.md"
            existing = written_before(file)
            text = self.decision_record(service_id, existing=existing)
            if text != existing:
                yield file, text
            if at < cards.FULL:
                links = [
                    ("Report", f"../index.html#{anchor(service_id)}"),
                    ("Markdown, to write in", f"{name}.md"),
                    *((title, f"../{link}") for title, link in _history_of(place.parent)),
                ]
                page = self.decision_record(service_id, existing=text, links=links)
                yield place / f"{name}.html", page

    def save_history(
        self,
        directory: str | Path,
        past: Mapping[str, DataFrame],
    ) -> None:
        """Write the page of all quarters, and its tables.

        Parameters
        ----------
        directory : str or Path
            Directory.
        past : mapping of str to DataFrame
            By quarter, oldest first, as returned by `history.of_scores`.
        """
        home = Path(directory)
        section = changes.history(past)
        names = {"title": f"History to {list(past)[-1]}", "headline": section.title}
        back = [("Report of this quarter", "index.html")]
        values = {**self._values(), **names, "sections": (section,), "related": back}
        values["anchors"] = ()
        write_beside(home / "history.html", render.page(values))
        render.write_csv(render.csv_tables([section], []), home / "tables")

    def _values(self) -> render.Values:
        at = self.scores.provenance
        kind = "Invented sample: quarterly" if at.is_invented else "Quarterly"
        return {
            "title": f"{kind} readiness report {at.quarter}",
            "is_invented": at.is_invented,
            "quarter": at.quarter,
            "headline": self.headline,
            "fleet": self.fleet,
            "tally": self.tally,
            "anchors": {
                card.id for section in self.sections for card in section.of(Card)
            },
            "sections": self.sections,
            "is_beside": False,
            "related": (),
            "appendix": (),
            "pages": {},
            "origin": self._origin(),
        }

    def _origin(self) -> list[tuple[str, str]]:
        """List everything that is needed to rebuild the same bytes."""
        at = self.scores.provenance
        command = f"assess report <snapshot of {at.snapshot_at:%Y-%m-%d}>"
        previous = self.scores.previous
        if previous:
            command += f" --previous <snapshot of {previous.snapshot_at:%Y-%m-%d}>"
        return [
            ("Snapshot", f"{at.snapshot_at:%Y-%m-%d %H:%M} UTC ({at.quarter})"),
            ("Policy", at.policy_hash),
            ("Reference facts", f"of {at.reference_date}"),
            ("assess", f"version {at.version}, seed {at.seed}"),
            ("Rebuild", command),
        ]

    def __repr__(self) -> str:
        """Return a short description, without address or clock."""
        at = self.scores.provenance
        return f"<Report {at.quarter}: {self.headline} Policy {at.policy_hash}>"

    def _repr_html_(self) -> str:
        tally = " · ".join(f"{band.symbol} {label} {n}" for label, n, band in self.tally)
        return (
            f"<p><b>{escape(self.headline)}</b></p><p>{escape(tally)}</p>"
            f"<p>{escape(repr(self.scores.inventory)[1:-1])}. "
            "<code>report.save_html(path)</code> writes the page.</p>"
        )


def _rows_of(result: Result) -> Iterator[Row]:
    """Yield the rows of a score, which are made when the first is asked for."""
    yield from result.rows()


_TWINS = [
    ("Markdown", "report.md"),
    ("JSON", "report.json"),
    ("Summary for a chat", "summary.md"),
]


def _history_of(home: Path) -> list[tuple[str, str]]:
    name = "history.html"
    return [("All quarters", name)] if (home / name).is_file() else []
