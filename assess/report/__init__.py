"""The report of a quarter, and the decision record of a service."""

from assess.report.build import build_report
from assess.report.model import Appendix
from assess.report.record import decision_record
from assess.report.report import Report

__all__ = ["Appendix", "Report", "build_report", "decision_record"]
