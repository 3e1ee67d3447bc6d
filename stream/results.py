"""What `freshet evaluate` tells: the tables of its terminal and its Markdown, and its report."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from models.evaluation import TIE_RULE
from models.splits import Split
from models.summary import Run, differences, levels, mean_of, mean_quality, systems
from stream.comparison import Cut, Plan

PAPER: Final = (
    ("item CF, as the paper prints it", (0.107, 0.433, 0.145, 0.937)),
    ("time-series RNN, as the paper prints it", (0.422, 0.38, 0.076, 0.872)),
)
"""Table 1 of the paper, on the Tianchi competition's full data; it says neither level nor length of list."""

TABLE_1: Final = (
    ("prediction_accuracy", "prediction accuracy"),
    ("accuracy", "accuracy"),
    ("recall", "recall"),
    ("user_coverage", "user coverage"),
)
"""The paper's four metrics, which its figure 5 draws."""
NEXT_EVENT: Final = (("prediction_accuracy", "HR"), ("mrr", "MRR"), ("ndcg", "NDCG"))
BESIDE: Final = (
    ("catalogue_coverage", "catalogue coverage"),
    ("cold_share", "cold items in lists"),
    ("next_day_f1", "next-day F1"),
)
DIFFERENT: Final = (("prediction_accuracy", "HR"), ("mrr", "MRR"))

NOTHING: Final = "-"


class Table(NamedTuple):
    """A title, the headings and the rows, all text."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def tables(runs: Sequence[Run], plan: Plan) -> Iterator[Table]:
    """Lay all figures out for a person."""
    yield _next_events(runs)
    yield _table_1(runs, plan)
    if len(systems(runs)) > 1 or len(plan.seeds) > 1:
        yield _sureness(runs, plan)
    if max(run.window for run in runs) > 1:
        yield _windows(runs, plan)
    yield _times(runs)


def _next_events(runs: Sequence[Run]) -> Table:
    """HR, MRR and NDCG of the next events at each cut-off."""
    cutoffs = list(dict.fromkeys(cutoff for _, cutoff in levels(runs)))
    columns = [f"{title}@{cutoff}" for cutoff in cutoffs for _, title in NEXT_EVENT]
    rows = []
    for level in dict.fromkeys(level for level, _ in levels(runs)):
        for system in systems(runs):
            found = [mean_quality(runs, system, level, cutoff) for cutoff in cutoffs]
            shown = [number(getattr(one, name)) for one in found for name, _ in NEXT_EVENT]
            rows.append((system, level, *shown))
    return Table("Next events (HR@N is recall@N)", ("system", "level", *columns), rows)


def _table_1(runs: Sequence[Run], plan: Plan) -> Table:
    """The paper's four metrics at the longest lists, the paper's own figures first, and more beside them."""
    cutoff = max(plan.cutoffs)
    nothing = (NOTHING,) * (len(BESIDE) + 1)
    rows = [
        (system, "not said", NOTHING, *(number(value) for value in values), *nothing)
        for system, values in PAPER
    ]
    for level, _ in (one for one in levels(runs) if one[1] == cutoff):
        for system in systems(runs):
            quality = mean_quality(runs, system, level, cutoff)
            shown = [number(getattr(quality, name)) for name, _ in (*TABLE_1, *BESIDE)]
            rows.append((system, level, str(cutoff), *shown, whole(quality.tied_cutoffs)))
    titles = [title for _, title in (*TABLE_1, *BESIDE)]
    return Table("Table 1 and beside it", ("system", "level", "N", *titles, "tied cut-offs"), rows)


def _sureness(runs: Sequence[Run], plan: Plan) -> Table:
    """Means over the seeds and their spread, and the difference to the best other system or the reference."""
    cutoff = max(plan.cutoffs)
    beside = {(one.system, one.level, one.figure): one for one in differences(runs, plan.reference, cutoff)}
    rows = []
    for level, _ in (one for one in levels(runs) if one[1] == cutoff):
        for figure, title in DIFFERENT:
            for system in systems(runs):
                mean = mean_of(runs, system, (level, cutoff, figure))
                row = (f"{title}@{cutoff}", level, system, number(mean.mean), number(mean.deviation))
                one = beside.get((system, level, figure))
                if one is None:
                    rows.append((*row, NOTHING, NOTHING, NOTHING))
                    continue
                low, high = one.interval
                interval = f"{low:+.4f} .. {high:+.4f}" if math.isfinite(low) else NOTHING
                rows.append((*row, one.reference, f"{one.difference:+.4f}", interval))
    columns = (
        "figure",
        "level",
        "system",
        "mean",
        "s.d. of seeds",
        "beside",
        "difference",
        "95 % interval",
    )
    return Table("How sure", columns, rows)


def _windows(runs: Sequence[Run], plan: Plan) -> Table:
    """HR and MRR at the longest lists, window by window."""
    cutoff = max(plan.cutoffs)
    count = max(run.window for run in runs)
    rows = []
    for level, _ in (one for one in levels(runs) if one[1] == cutoff):
        for figure, title in DIFFERENT:
            for system in systems(runs):
                key = (level, cutoff, figure)
                by_window = [
                    mean_of([run for run in runs if run.window == window], system, key).mean
                    for window in range(1, count + 1)
                ]
                shown = (number(value) for value in (*by_window, mean_of(runs, system, key).mean))
                rows.append((f"{title}@{cutoff}", level, system, *shown))
    columns = ("figure", "level", "system", *(f"window {window}" for window in range(1, count + 1)), "mean")
    return Table("Windows", columns, rows)


def _times(runs: Sequence[Run]) -> Table:
    """How long each system took: to learn and to make its lists, all seeds and windows together."""
    rows = []
    for system in systems(runs):
        own = [run for run in runs if run.system == system]
        fit_s, lists_s = sum(run.fit_s for run in own), sum(run.lists_s for run in own)
        rows.append((system, str(len(own)), f"{fit_s:.1f}", f"{lists_s:.1f}", f"{fit_s + lists_s:.1f}"))
    return Table("Time", ("system", "times learnt", "learning s", "lists s", "together s"), rows)


def report(
    files: Iterable[object], splits: Sequence[Split], plan: Plan, cut: Cut, runs: Sequence[Run]
) -> dict[str, Any]:
    """Give the figures as ``--report`` writes them: the conditions, and what each system reached."""
    return {
        "files": [str(path) for path in files],
        "candidate_set": cut.candidates.words,
        "tie_rule": TIE_RULE,
        "cutoffs": list(plan.cutoffs),
        "seeds": list(plan.seeds),
        "resamples": plan.resamples,
        "segment_span_ms": plan.segment.span_ms,
        "segment_max_events": plan.segment.max_events,
        "splits": [
            {
                "split": split.words,
                "cut_ms": split.cut_ms,
                "candidates": split.candidates,
                "train_events": len(split.train),
                "predictions": split.n_targets,
                "users": len(split.begin),
                "dropped_events": split.dropped,
                "suspicious_users": split.suspicious,
            }
            for split in splits
        ],
        "systems": [_system_report(runs, system, plan) for system in systems(runs)],
        "differences": [
            {
                "system": one.system,
                "reference": one.reference,
                "level": one.level,
                "cutoff": one.cutoff,
                "figure": one.figure,
                "difference": one.difference,
                "low": one.interval.low,
                "high": one.interval.high,
            }
            for one in differences(runs, plan.reference)
        ],
        "paper": [
            {"system": system, **dict(zip((name for name, _ in TABLE_1), values, strict=True))}
            for system, values in PAPER
        ],
    }


def _system_report(runs: Sequence[Run], system: str, plan: Plan) -> dict[str, Any]:
    """One system: its settings, the means of its figures, and each run."""
    own = [run for run in runs if run.system == system]
    return {
        "system": system,
        "settings": dict(plan.settings.get(system, {})),
        "fit_s": sum(run.fit_s for run in own),
        "lists_s": sum(run.lists_s for run in own),
        "figures": [mean_quality(own, system, level, cutoff).as_report() for level, cutoff in levels(own)],
        "runs": [
            {
                "window": run.window,
                "seed": run.seed,
                "fit_s": run.fit_s,
                "lists_s": run.lists_s,
                "figures": [quality.as_report() for quality in run.qualities],
            }
            for run in own
        ],
    }


def number(value: float) -> str:
    """Four places, or nothing where nothing was measured."""
    return f"{value:.4f}" if math.isfinite(value) else NOTHING


def whole(value: float) -> str:
    """A count (a mean of counts where there were several runs), or nothing."""
    return f"{value:,.0f}" if math.isfinite(value) else NOTHING
