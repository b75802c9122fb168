"""Measures the risk of adopting containers, service by service, on your own fleet."""

import importlib
import logging
from typing import TYPE_CHECKING, Any

from assess._version import __version__ as __version__

if TYPE_CHECKING:
    from assess.errors import AssessError as AssessError
    from assess.errors import CollectError as CollectError
    from assess.errors import ConfigError as ConfigError
    from assess.errors import DataError as DataError
    from assess.errors import PolicyError as PolicyError
    from assess.errors import RequestError as RequestError
    from assess.execution import working as working
    from assess.figures import notebook_style as notebook_style
    from assess.inventory import Inventory as Inventory
    from assess.inventory import from_frames as from_frames
    from assess.policy.policy import Policy as Policy
    from assess.policy.policy import load_policy as load_policy
    from assess.report import Report as Report
    from assess.report import build_report as build_report
    from assess.report.explorer import Explorer as Explorer
    from assess.score.assessment import backtest as backtest
    from assess.score.assessment import judge_claims as judge_claims
    from assess.score.assessment import score_experiments as score_experiments
    from assess.score.assessment import score_targets as score_targets
    from assess.score.assessment import what_next as what_next
    from assess.score.blast_radius.blast_radius import (
        score_blast_radius as score_blast_radius,
    )
    from assess.score.blast_radius.edges import edge_evidence as edge_evidence
    from assess.score.cleanup import clean_up as clean_up
    from assess.score.readiness import score_readiness as score_readiness
    from assess.score.upgrade_churn import (
        score_upgrade_churn as score_upgrade_churn,
    )
    from assess.score.upgrade_churn.history import upgrade_history as upgrade_history
    from assess.score.validation.external import judge_outside as judge_outside
    from assess.sources import collect as collect
    from assess.store import earlier as earlier
    from assess.store import load as load
    from assess.store import validate as validate

_NAMES = {  # by the module that defines them
    "errors": "AssessError CollectError ConfigError DataError PolicyError RequestError",
    "report.explorer": "Explorer",
    "inventory": "Inventory from_frames",
    "policy.policy": "Policy load_policy",
    "report": "Report build_report",
    "score.assessment": "backtest judge_claims score_experiments score_targets what_next",
    "score.cleanup": "clean_up",
    "sources": "collect",
    "store": "earlier load validate",
    "score.blast_radius.edges": "edge_evidence",
    "score.validation.external": "judge_outside",
    "figures": "notebook_style",
    "score.blast_radius.blast_radius": "score_blast_radius",
    "score.readiness": "score_readiness",
    "score.upgrade_churn": "score_upgrade_churn",
    "score.upgrade_churn.history": "upgrade_history",
    "execution": "working",
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}
__all__ = list(_HOMES)

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __dir__() -> list[str]:
    """List the public names, also those that nobody has used yet."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Load a public name where it is first used: `import assess` costs no SDK."""
    if name not in _HOMES:
        raise AttributeError(f"module 'assess' has no attribute {name!r}")
    return getattr(importlib.import_module(f"assess.{_HOMES[name]}"), name)
