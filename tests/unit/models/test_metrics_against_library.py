"""Our figures against ir-measures (trec_eval below it), on random scores with many ties."""

import ir_measures
import numpy as np
import pytest
from ir_measures import RR, P, R, nDCG

from models.evaluation import ranked
from models.metrics import discounted_gains, hits, overlap, places, reciprocal_ranks

LISTS = 60
ITEMS = 90
CUTOFFS = (1, 5, 10, 20)


def _name(row: int) -> str:
    """Of equal scores trec_eval ranks the later name first, and we the lower row."""
    return f"{ITEMS - row:04d}"


def _scores(kinds: int, seed: int) -> np.ndarray:
    """(L, N) scores of so few kinds that most lists are cut within a tie; row 0 is never listed."""
    scores = np.random.default_rng(seed).integers(kinds, size=(LISTS, ITEMS)).astype(np.float32)
    scores[:, 0] = -np.inf
    return scores


def _theirs(
    scores: np.ndarray, wanted: list[list[int]], measure: ir_measures.measures.Measure
) -> list[float]:
    """The library's figure of each list, in order; it is given every score and ranks by itself."""
    judged = {f"{line:04d}": {_name(row): 1 for row in rows} for line, rows in enumerate(wanted)}
    run = {
        f"{line:04d}": {_name(row): float(values[row]) for row in range(1, ITEMS)}
        for line, values in enumerate(scores)
    }
    found = {metric.query_id: metric.value for metric in ir_measures.iter_calc([measure], judged, run)}
    return [found[f"{line:04d}"] for line in range(len(wanted))]


@pytest.mark.parametrize("kinds", [3, 25, 100_000])
@pytest.mark.parametrize("cutoff", CUTOFFS)
def test_next_event_figures_are_the_librarys(cutoff: int, kinds: int) -> None:
    """Hit rate is its recall with one right answer; MRR and NDCG go by its names; the tie rule is ours."""
    scores = _scores(kinds, seed=kinds)
    target = np.random.default_rng(cutoff).integers(1, ITEMS, size=LISTS)
    rows, tied = ranked(scores, cutoff)
    assert tied.any() == (kinds < 1000)
    found = places(rows, target)
    wanted = [[row] for row in target.tolist()]
    np.testing.assert_allclose(hits(found), _theirs(scores, wanted, R @ cutoff))
    # Its RR with a cut-off is not trec_eval's and breaks ties in another way.
    whole = np.array(_theirs(scores, wanted, RR))
    np.testing.assert_allclose(reciprocal_ranks(found), np.where(whole >= 1 / cutoff, whole, 0))
    np.testing.assert_allclose(discounted_gains(found), _theirs(scores, wanted, nDCG @ cutoff))


@pytest.mark.parametrize("kinds", [3, 100_000])
@pytest.mark.parametrize("cutoff", CUTOFFS)
def test_accuracy_and_recall_at_the_cut_are_the_librarys(cutoff: int, kinds: int) -> None:
    """Of several right answers: each user's precision and recall, before they are summed up."""
    scores = _scores(kinds, seed=kinds + 1)
    rng = np.random.default_rng(cutoff)
    wanted = [
        rng.choice(np.arange(1, ITEMS), size=rng.integers(1, 9), replace=False).tolist() for _ in scores
    ]
    user = np.repeat(np.arange(LISTS), [len(rows) for rows in wanted])
    common = overlap(ranked(scores, cutoff)[0], user, np.concatenate(wanted))
    np.testing.assert_allclose(common.shared / common.listed, _theirs(scores, wanted, P @ cutoff))
    np.testing.assert_allclose(common.shared / common.wanted, _theirs(scores, wanted, R @ cutoff))
