"""Measures the risk of adopting containers, service by service, on your own fleet."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from assess.errors import (
        AssessError,
        CollectError,
        ConfigError,
        DataError,
        PolicyError,
    )
    from assess.execution import working
    from assess.figures import notebook_style
    from assess.inventory import Inventory, from_frames, load, validate
    from assess.policy.policy import Policy, load_policy
    from assess.report import Report, build_report
    from assess.score.assessment import judge_claims, what_next
    from assess.score.backtest.backtest import backtest
    from assess.score.blast_radius.blast_radius import score_blast_radius
    from assess.score.blast_radius.external import judge_outside
    from assess.score.blast_radius.topology import edge_evidence
    from assess.score.readiness.readiness import score_readiness
    from assess.score.upgrade_churn.history import upgrade_history
    from assess.score.upgrade_churn.upgrade_churn import score_upgrade_churn
    from assess.sources import collect
    from assess.store import earlier

_HOMES = {
    "AssessError": "errors",
    "CollectError": "errors",
    "ConfigError": "errors",
    "DataError": "errors",
    "Inventory": "inventory",
    "Policy": "policy.policy",
    "PolicyError": "errors",
    "Report": "report",
    "backtest": "score.backtest.backtest",
    "build_report": "report",
    "collect": "sources",
    "earlier": "store",
    "edge_evidence": "score.blast_radius.topology",
    "from_frames": "inventory",
    "judge_claims": "score.assessment",
    "judge_outside": "score.blast_radius.external",
    "load": "inventory",
    "load_policy": "policy.policy",
    "notebook_style": "figures",
    "score_blast_radius": "score.blast_radius.blast_radius",
    "score_readiness": "score.readiness.readiness",
    "score_upgrade_churn": "score.upgrade_churn.upgrade_churn",
    "upgrade_history": "score.upgrade_churn.history",
    "validate": "inventory",
    "what_next": "score.assessment",
    "working": "execution",
}
__all__ = [
    "AssessError",
    "CollectError",
    "ConfigError",
    "DataError",
    "Inventory",
    "Policy",
    "PolicyError",
    "Report",
    "backtest",
    "build_report",
    "collect",
    "earlier",
    "edge_evidence",
    "from_frames",
    "judge_claims",
    "judge_outside",
    "load",
    "load_policy",
    "notebook_style",
    "score_blast_radius",
    "score_readiness",
    "score_upgrade_churn",
    "upgrade_history",
    "validate",
    "what_next",
    "working",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    """Load a public name where it is first used: `import assess` costs no SDK."""
    if name not in _HOMES:
        raise AttributeError(f"module 'assess' has no attribute {name!r}")
    return getattr(importlib.import_module(f"assess.{_HOMES[name]}"), name)
