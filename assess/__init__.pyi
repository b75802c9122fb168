"""The public names, and the modules that define them; `__init__.py` reads them here."""

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
from assess.policy import Policy as Policy
from assess.policy import load_policy as load_policy
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
from assess.score.blast_radius.topology import edge_evidence as edge_evidence
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

__version__: str
