"""The report of a quarter, and the decision record of a service."""

from assess.report.model import Appendix
from assess.report.record import decision_record
from assess.report.report import Report, build_report

__all__ = ["Appendix", "Report", "build_report", "decision_record"]
