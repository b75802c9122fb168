"""Validate predictions against failures that they were not fitted on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from assess.execution import tell
from assess.frames import Frames, surely
from assess.inventory import Inventory
from assess.policy import Policy
from assess.score import Booleans, Floats, Integers
from assess.score.blast_radius.bitset import sparse
from assess.score.blast_radius.failures import Failure, ids, sample
from assess.score.blast_radius.learning import (
    Failures,
    Learned,
    at_fault,
    fit,
    flat_p,
    learns,
    uses,
)
from assess.score.blast_radius.propagation import Impact, by_level
from assess.score.blast_radius.topology import (
    FAR,
    LEVELS,
    Element,
    Graph,
    Topology,
    steps,
    total_weight,
)
from assess.score.blast_radius.uncertain import Sampling, decide
from assess.score.blast_radius.undecided import Undecided
from assess.score.incidents import CONTAINER, HOST, Exposure, exposure
from assess.score.incidents.rates import jeffreys_interval
from assess.score.result import with_ends
from assess.score.validation import skill
from assess.score.validation.callers import (
    Opinion,
    Reach,
    codes,
    learn,
    pair_strength,
    together,
    trust,
)
from assess.score.validation.skill import BASELINES, Judged, Rule, middle

SHOWN = "p_down"  # by the policy alone, which no failure has taught
POLICY = "policy"
TAUGHT = "pairs of failure and service"
CHECKS = (  # the tables of `validate`
    "calibration",
    "precision",
    "precision_curve",
    "skill",
    "reliability",
    "comparisons",
    "predicted",
    "calibration_measures",
    "learned_judged",
)
MEASURE = ["measure", "value", "lo", "hi", "n"]
HELD = "observed share within its interval (floor fitted to the same failures)"
WHAT = "checks against observed failures"
EVENT = "event"
ELEMENT = "element"
SCHEMES = (EVENT, ELEMENT)
LEARNED = "learned"
FLAT = "flat p"
GRID = 50  # flat probabilities are rounded to this part


def validate(
    inventory: Inventory,
    policy: Policy,
    evidence: Failures,
    sampling: Sampling,
    failures_n: int,
) -> Frames:
    """Check predictions against observed failures.

    ``evidence`` is of all ``failures_n`` of them, or of a sample by the seed [count]; its topology
    has the policy's probabilities. The frames are those of the functions below and in `skill`, and
    ``predicted``: the prediction of each rule for each pair.
    """
    level = policy.level
    seed = policy.seed
    topology = evidence.topology
    failures = evidence.failures
    impacts = by_policy(evidence, sampling)
    calibration = calibrate(evidence, impacts, policy)
    rows = failures_to_judge(evidence, policy)
    picked = [failures[row] for row in rows]
    judged = judge(evidence, policy, rows, impacts["point"], sampling)
    comparisons = skill.compare(judged, contests(judged), seed=seed, level=level)
    skills = skill.scores(judged)
    watched = exposure(inventory, policy)
    measured = measures(watched, calibration, seed=seed, level=level)
    samples = {
        "failures": (len(failures), failures_n),
        "failures left out": (len(rows), len(failures)),
        TAUGHT: judged.taught,
    }
    measured = pd.concat([measured, sampled(samples, seed)], ignore_index=True)
    return {
        "calibration": calibration,
        "precision": skill.precision(judged, seed=seed, level=level),
        "precision_curve": skill.curve(judged),
        "skill": skills,
        "reliability": skill.reliability(judged),
        "comparisons": comparisons,
        "predicted": predicted(topology, picked, judged),
        "calibration_measures": measured,
        "learned_judged": verdicts(skills, comparisons, len(picked), failures_n),
    }


def by_policy(evidence: Failures, sampling: Sampling) -> dict[str, Impact]:
    """Return by level what the policy's probabilities expect where an element failed."""
    topology = evidence.topology
    failed = topology.elements.isin(list(evidence.of_element))
    drawn = {"lo": failed, "point": failed, "hi": failed & False}
    graph = topology.graphs["hi"]
    return by_level(topology, graph, sampling, listed=failed, drawn=drawn)


def sampled(samples: Mapping[str, tuple[int, int]], seed: int) -> DataFrame:
    """Return as measures the used share of each sample, with the number of all."""
    rows = [
        (f"{what} used, drawn by the seed {seed}", *[used_n / n] * 3, n)
        for what, (used_n, n) in samples.items()
        if used_n < n
    ]
    return DataFrame(rows, columns=MEASURE)


def judge(
    evidence: Failures,
    policy: Policy,
    rows: Integers,
    expected: Impact,
    sampling: Sampling,
) -> Judged:
    """Return the predictions of every rule for the judged failures."""
    topology = evidence.topology
    elements = [evidence.failures[row].element for row in rows]
    services_n = len(topology.services)
    seen = evidence.seen[rows]
    down = seen & evidence.down[rows]
    failed = topology.elements.get_indexer(elements)
    shown = np.array([expected.chances(at)[:services_n] for at in failed])
    rules: dict[Rule, Floats] = {
        (rule, ""): flags.astype(float)
        for rule, flags in baselines(topology, elements).items()
    }
    rules[SHOWN, ""] = shown.reshape(seen.shape)
    taught = (0, 0)
    if learns(policy, evidence.failures):
        left_out, reach = predict_left_out(evidence, policy, rows, sampling)
        taught = (len(reach.failure), reach.pairs_n)
        rules |= {
            (rule, f"{scheme} left out"): p for (rule, scheme), p in left_out.items()
        }
    itself = topology.initially_down(elements, "point")[:, :services_n]
    return Judged(seen, down, itself, codes(elements), rules, taught)


def contests(judged: Judged) -> list[tuple[Rule, Rule]]:
    """List the pairs of rules to compare: each learned rule with all simpler ones."""
    pairs = []
    for rule in judged.rules:
        if rule[0] not in (LEARNED, SHOWN):
            continue
        for other in judged.rules:
            is_same = other[0] == FLAT and other[1] != rule[1]
            if other[0] not in (LEARNED, rule[0]) and not is_same:
                pairs.append((rule, other))
    return pairs


def predicted(topology: Topology, failures: list[Failure], judged: Judged) -> DataFrame:
    """List by failure and observed service the outcome, and the prediction of each rule.

    Columns ``event_id, element_kind, element, service_id, itself, down``, then one per rule.
    """
    row, service = np.nonzero(judged.pair)
    columns: dict[str, object] = {
        "event_id": np.array([f.event_id for f in failures], object)[row],
        "element_kind": np.array([f.element[0] for f in failures], object)[row],
        "element": np.array([f.element[1] for f in failures], object)[row],
        "service_id": topology.services.to_numpy()[service],
        "itself": judged.itself[judged.pair],
        "down": judged.down[judged.pair],
    }
    for rule, p in judged.rules.items():
        columns[skill.named(rule)] = p[judged.pair]
    return DataFrame(columns)


def verdicts(
    skills: DataFrame, comparisons: DataFrame, judged_n: int, failures_n: int
) -> DataFrame:
    """Return by left-out part the Brier score of both rules, the gain, and a sentence.

    Columns ``rule`` (policy, learned), ``left_out``, ``brier``, ``gain`` with ``gain_lo, gain_hi``
    over what the policy says, ``verdict``.
    """
    names = ["rule", "left_out", "brier", *with_ends("gain"), "verdict"]
    asked = "measure == 'brier' and rule == @LEARNED and baseline.str.startswith(@SHOWN)"
    rows = []
    for gain in comparisons.query(asked, engine="python").itertuples():
        ends = (gain.gain, gain.gain_lo, gain.gain_hi)
        text = verdict(gain.left_out, ends, judged_n, failures_n)
        base = skills.loc[skills["rule"] == SHOWN, "brier"].iloc[0]
        rows.append((POLICY, gain.left_out, base, 0.0, 0.0, 0.0, text))
        learned = skills[skills["rule"] == LEARNED].set_index("left_out")
        own = learned.loc[gain.left_out, "brier"]
        rows.append((LEARNED, gain.left_out, own, *ends, text))
    return DataFrame(rows, columns=names)


def verdict(
    left_out: str, gain: tuple[float, float, float], judged_n: int, failures_n: int
) -> str:
    """Return a sentence on whether learned probabilities predict better than the policy's."""
    if np.isnan(gain[1]):
        return "Too few elements failed to judge learned probabilities."
    others = "all others" if EVENT in left_out else "those of other elements"
    many = f"{failures_n} failures"
    if judged_n < failures_n:
        many = f"{judged_n} failures, drawn at random from {failures_n},"
    better = "are not shown to be better"
    end = " They do not help on this fleet yet."
    if gain[1] > 0:
        better = "did better"
        end = ""
    elif gain[2] < 0:
        better = "did worse"
    shown = f"{gain[0]:+.3f} ({gain[1]:+.3f} to {gain[2]:+.3f})"
    return (
        f"Each of {many} was predicted from {others}. Learned probabilities {better} "
        f"than the policy's: reduction of the squared error {shown}; above 0 is better.{end}"
    )


def calibrate(
    evidence: Failures, impacts: Mapping[str, Impact], policy: Policy
) -> DataFrame:
    """Compare the observed losses of failures with the prediction for the failed element.

    ``event, event_id, element_kind, element``, then shares of the criticality of the services that
    had data: ``observed, predicted, predicted_lo, predicted_hi, next_lo, next_hi`` [0-1], their
    number ``services_n``, ``beside`` (ids of failures at the same time), and ``inside``: whether the
    interval of one failure holds the observed share. That interval is of the whole fleet: NA where
    some services had no data. Predictions are the policy's, updated by the other failures of the
    element where the policy uses failures.
    """
    topology = evidence.topology
    settings = policy["blast_radius"]
    strength = settings["pair_strength"]
    least = settings["floor_strength"]
    floor = evidence.outside.floor(evidence.every, least)
    values = topology.service_weight.to_numpy()
    n = len(values)
    fleet = total_weight(values)
    point = impacts["point"]
    places = topology.elements.get_indexer([f.element for f in evidence.failures])
    rows = []
    for at, (failure, place) in enumerate(zip(evidence.failures, places, strict=True)):
        seen = failure.seen
        total = values[seen].sum()
        if not total:  # no service with any weight had data, so there is no share
            continue
        kept = evidence.every & uses(policy)
        kept[at] = False
        others = evidence.past(failure.element, kept)
        lo, p, hi = (impacts[level].chances(place)[:n] for level in LEVELS)
        p = others.update(p, floor, strength)
        lo = np.minimum(lo, p)
        hi = np.maximum(hi, p)
        counted = values * seen / total
        shares = [p, lo, hi] @ counted
        observed = values[failure.down].sum() / total
        event = (failure.event, failure.event_id, *failure.element)
        low = point.next_lo[place]
        high = point.next_hi[place]
        losses = others.losses(p, values)
        held = others.ends((low, high), losses, strength, policy.level)
        # the interval is of the whole fleet: it cannot be compared with a part of it
        whole = seen | (values == 0)
        if not whole.all():
            held = np.full(2, np.nan)
        beside = "; ".join(failure.beside)
        rows.append((*event, observed, *shares, *held / fleet, seen.sum(), beside))
    names = ["event", "event_id", "element_kind", "element", "observed"]
    names += [*with_ends("predicted"), "next_lo", "next_hi"]
    table = DataFrame(rows, columns=[*names, "services_n", "beside"])
    slack = 1e-9  # sums of shares round
    low = table["next_lo"]
    inside = table["observed"].between(low - slack, table["next_hi"] + slack)
    return table.assign(inside=inside.astype("boolean").mask(low.isna()))


def baselines(topology: Topology, elements: Sequence[Element]) -> dict[str, Booleans]:
    """Return by rule the services that fail with each element: shape (elements, services)."""
    itself = topology.initially_down(elements, "point")
    away = steps(topology.matrix(), itself)
    rules = zip(BASELINES, (itself, away <= 1, away < FAR), strict=True)
    return {rule: flags[:, : len(topology.services)] for rule, flags in rules}


def measures(
    exposure: Exposure, calibration: DataFrame, *, seed: int, level: float
) -> DataFrame:
    """Return measures of predictions and containment: ``measure, value, lo, hi, n``.

    They are the ratio of observed to predicted shares, with a bootstrap interval over the elements
    that failed, how often the interval of one failure held, by kind of element too, and the chance
    that an incident touches at most one service, on containers and on hosts.
    """
    # draw elements, not failures: failures of one element share their prediction
    by_element = calibration.groupby(["element_kind", "element"])
    both = by_element[["observed", "predicted"]].sum().to_numpy("float64")
    ratio = (np.nan, np.nan, np.nan)
    if both[:, 1].sum():
        shape = (skill.resamples(len(both), level), len(both))
        drawn = np.random.default_rng(seed).integers(0, len(both), shape)
        observed, predicted = both[drawn].sum(axis=1).T
        shares = observed[predicted > 0] / predicted[predicted > 0]
        point = both[:, 0].sum() / both[:, 1].sum()
        ratio = (point, *middle(shares, level))
    rows = [("observed share over predicted share", *ratio, len(calibration))]

    def add(measure: str, holds: Series) -> None:
        share = jeffreys_interval(holds.sum(), len(holds), level=level)
        rows.append((measure, *share, len(holds)))

    held = calibration["inside"].dropna().astype(bool)
    add(HELD, held)
    for kind, part in held.groupby(calibration["element_kind"]):
        add(f"{HELD}: {kind}", part)
    incidents = exposure.sound.dropna(subset=["service_id", "affected_services"])
    listed = incidents["affected_services"] + ";" + incidents["service_id"]
    is_single = listed.map(lambda text: len(set(ids(text)))) <= 1
    for name, side in (("containers", CONTAINER), ("hosts", HOST)):
        on_side = is_single[surely(incidents["side"].eq(side))]
        add(f"incidents of one service only, {name}", on_side)
    return DataFrame(rows, columns=MEASURE)


def chances_in(
    graph: Graph, p: Floats, initially: Booleans, sampling: Sampling
) -> Floats:
    """Return by row and node the probability that it is down.

    ``p`` is by row and arc, ``initially`` marks by row the nodes that fail first.
    """
    calls = sparse(initially.shape[1:] * 2, graph.tail, graph.head)
    reach = steps(calls, initially) < FAR
    found = initially.astype(float)
    for row, each in enumerate(p):
        own = graph.with_chances(each)
        undecided = Undecided.of(own, initially[[row]], reach[[row]])
        found[row, undecided.node] = decide(undecided, sampling).p
    return found


def failures_to_judge(evidence: Failures, policy: Policy) -> Integers:
    """Return the positions of the failures to predict: all, or a sample drawn with the seed."""
    most = int(policy["blast_radius"]["judged_most"])
    return sample(len(evidence.failures), most, policy.seed)


def predict_left_out(
    evidence: Failures, policy: Policy, judged: Integers, sampling: Sampling
) -> tuple[dict[Rule, Floats], Reach]:
    """Predict the judged failures by rule and scheme: chances by failure and service.

    Rules are what is learned from the rest, and one flat p fitted on the rest. A scheme leaves out
    the failure alone, or every failure of its element. Also returns what the regression learned from.
    """
    topology = evidence.topology
    elements = [evidence.failures[position].element for position in judged]
    initial = topology.initially_down(elements, "point")
    sampling = replace(sampling, spread=False)
    graph = topology.graphs["point"]
    services_n = len(topology.services)
    keys = [(rule, scheme) for rule in (LEARNED, FLAT) for scheme in SCHEMES]
    chances = {key: np.zeros((len(judged), services_n)) for key in keys}
    reach = Reach.of(evidence, policy.seed)
    settings = policy["blast_radius"]
    least = settings["pair_strength"]
    total = len(SCHEMES) * len(judged)
    done = 0
    for scheme in SCHEMES:
        fitted: dict[int, tuple[Booleans, Learned, Opinion, float]] = {}
        flat = np.zeros((len(judged), 1))
        for rows, kept in _folds(evidence, judged, scheme):
            done += len(rows)
            tell(WHAT, done, total)
            opinion = learn(reach, kept)
            strength = pair_strength(reach, opinion, kept, least)
            fold = (kept, fit(evidence, kept, settings), opinion, strength)
            fitted |= dict.fromkeys(rows.tolist(), fold)
            flat[rows] = round(flat_p(evidence, kept) * GRID) / GRID
        every = [fitted[row] for row in range(len(judged))]
        p = [
            at_fault(known, evidence.failures[position].fault)
            for (_, known, *_), position in zip(every, judged, strict=True)
        ]
        start = [known.start for _, known, *_ in every]
        by_one_p = flat.repeat(len(p[0]), axis=1)
        by_rule = (np.array(start), np.array(p), by_one_p)
        *voices, by_flat = (
            chances_in(graph, each, initial, sampling)[:, :services_n] for each in by_rule
        )
        chances[FLAT, scheme] = by_flat
        for row, (kept, known, opinion, strength) in enumerate(every):
            trusted = trust(evidence, known.tries)
            own = [voice[row] for voice in voices]
            either = together(reach, opinion, judged[row], own, trusted)
            # a service also falls by what no edge explains: independent causes
            beside = 1 - (1 - either) * (1 - known.floor)
            full = evidence.past(elements[row], kept).chances(beside, strength)
            # what goes down directly with the element needs no prediction
            full[initial[row, :services_n]] = 1.0
            chances[LEARNED, scheme][row] = full
    return chances, reach


def _folds(
    evidence: Failures, judged: Integers, scheme: str
) -> Iterator[tuple[Integers, Booleans]]:
    """Yield rows of the judged failures that are left out together, and the failures kept."""
    label = np.arange(len(evidence.failures))
    if scheme == ELEMENT:
        label = codes([f.element for f in evidence.failures])
    for each in np.unique(label[judged]):
        yield np.flatnonzero(label[judged] == each), label != each
