"""The report of a quarter: the same parts told as a page, as Markdown and as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from assess.figures import Band, band_of
from assess.inventory import Inventory
from assess.policy import Policy
from assess.report import background, cards, sections
from assess.report.ahead import ahead
from assess.report.model import Card, Picture, Section, Table, slug
from assess.report.pictures import Pictures
from assess.report.record import decision_record
from assess.report.render import document, page
from assess.report.scores import Scores
from assess.score.result import plain

JSON_VERSION = 1


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """What a meeting reads.

    Attributes
    ----------
    scores : Scores
        The quarter that it tells of.
    earlier : Scores or None
        The quarter before.
    headline : str
        The sentence to start with.
    sections : tuple of Section
        In the order to read.
    """

    scores: Scores
    earlier: Scores | None
    headline: str
    sections: tuple[Section, ...]

    @property
    def tally(self) -> list[tuple[str, int, Band]]:
        """Services per label, in the order of the ranking."""
        counts = self.scores.ranking.frame["label"].value_counts(sort=False)
        return [(str(label), int(n), band_of(label)) for label, n in counts.items()]

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
            Origin, headline, sections with their tables, and the four scores.
        """
        origin = self.scores.ranking.to_dict()
        kept = ("snapshot_at", "quarter", "policy_hash", "reference_date", "version", "seed")
        return {
            "schema_version": JSON_VERSION,
            **{key: origin[key] for key in kept},
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
            "scores": {name: plain(r.rows()) for name, r in self.scores.results.items()},
        }

    def to_html(self) -> str:
        """Tell the report as one page.

        Returns
        -------
        str
            HTML that asks the network for nothing.
        """
        return page(self._values())

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
        return decision_record(service_id, self.scores, earlier=self.earlier, existing=existing)

    @property
    def candidates(self) -> list[str]:
        """Services that do not run in containers yet, best first."""
        frame = self.scores.ranking.frame
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
        _write(Path(path), json.dumps(self.to_dict(), indent=1) + "\n")

    def save(self, directory: str | Path) -> None:
        """Write everything: page, twins, figures and decision records.

        Parameters
        ----------
        directory : str or Path
            Where to; what people wrote into the decision records there is kept.
        """
        home = Path(directory)
        self.save_json(home / "report.json")  # first what needs no figures: they are being drawn
        for service_id in self.candidates:
            file = home / "decisions" / f"{slug(service_id)}.md"
            existing = file.read_text("utf-8") if file.exists() else ""
            _write(file, self.decision_record(service_id, existing=existing))
        for picture in self.pictures():
            _write(home / "figures" / f"{picture.id}.svg", picture.svg)
        self.save_markdown(home / "report.md")
        self.save_html(home / "index.html")

    def _values(self) -> dict[str, Any]:
        """Gather what the templates name."""
        at = self.scores.provenance
        inventory = self.scores.inventory
        counted = ("services", "hosts", "workloads", "incidents")
        counts = ", ".join(f"{len(inventory[name])} {name}" for name in counted)
        return {
            "title": f"Readiness report {at.quarter}",
            "quarter": at.quarter,
            "headline": self.headline,
            "fleet": f"{counts}; snapshot of {at.snapshot_at:%d %B %Y}.",
            "tally": self.tally,
            "anchors": {card.id for section in self.sections for card in section.of(Card)},
            "sections": self.sections,
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


def build_report(
    inventory: Inventory, policy: Policy, *, previous: Inventory | None = None
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

    Returns
    -------
    Report
        The same inventory, policy and version give the same bytes.
    """
    before = ahead(lambda: Scores.of(previous, policy).four) if previous is not None else None
    scores = Scores.of(inventory, policy)
    earlier = Scores(previous, policy, *before()) if previous is not None and before else None
    drawn = Pictures(scores, earlier)
    told = (
        sections.decision(scores),
        sections.changes(scores, earlier, drawn),
        sections.ranking(scores, drawn),
        sections.blast_radius(scores, drawn),
        sections.upgrade_churn(scores, drawn),
        cards.cards(scores, drawn),
        background.unknowns(scores),
        background.coverage(scores, drawn),
        background.method(scores),
    )
    return Report(scores, earlier, sections.headline(scores), told)
