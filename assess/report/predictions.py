"""Parts on predictions: their validation, and the experiments to try next."""

from assess.report.model import Part, Pictures, table_of
from assess.score.assessment import Assessment
from assess.words import element_label, element_labels

NO_FAILURE = "No failure was observed yet: nothing shows how well this holds."


def judged(scores: Assessment) -> list[str]:
    """Return sentences on the validation of predictions with left-out failures."""
    verdicts = scores.blast_radius.details["learned_judged"]["verdict"]
    return list(dict.fromkeys(verdicts)) or [NO_FAILURE]


def parts(scores: Assessment, pictures: Pictures) -> list[Part]:
    """Return the parts on validation, and on experiments, best first."""
    held = scores.blast_radius.details["calibration_measures"]
    held = held.rename(columns={"lo": "value_lo", "hi": "value_hi"})
    tried = scores.experiments.frame.reset_index()
    names = element_labels(tried["element_kind"], tried["element"])
    places = [element_label(*place.split(" ", 1)) for place in tried["safest"]]
    return [
        table_of(
            "predictions-held",
            "How well the predictions held",
            held,
            is_folded=True,
        ),
        pictures(
            "experiments",
            "Point: what the failure is expected to decide.",
            fold="What each failure would decide",
        ),
        table_of(
            "experiments",
            "Which failure to try next",
            tried.assign(label=names, place=places),
            empty="No experiment would decide anything.",
            limit=60,
            is_folded=True,
        ),
    ]
