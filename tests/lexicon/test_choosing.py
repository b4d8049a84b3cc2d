"""The pronunciations on the best path are those of the best of all alignments, one for each combination."""

import itertools
import random

import numpy as np
import pytest

from asr.decoder import align
from asr.errors import DecodingError
from asr.lexicon import choosing
from asr.lexicon.choosing import choose

LABELS = ["<blank>", "|", "A", "B", "C"]


@pytest.mark.parametrize("between", [(), (1,)])
@pytest.mark.parametrize("checkpoint_frames", [1, 4, 512])
def test_the_best_of_all_combinations(checkpoint_frames, between, monkeypatch):
    monkeypatch.setattr(choosing, "CHECKPOINT_FRAMES", checkpoint_frames)
    seed = random.randrange(10**6)
    print("seed", seed)
    rng = np.random.default_rng(seed)
    for _ in range(20):
        logits = 2 * rng.normal(size=(14, len(LABELS)))
        log_probs = (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)
        words = [
            [rng.integers(2, 5, rng.integers(1, 4)).tolist() for _ in range(rng.integers(1, 4))]
            for _ in range(rng.integers(1, 4))
        ]
        scores = {}
        for combination in itertools.product(*(range(len(known)) for known in words)):
            said = [known[which] for known, which in zip(words, combination, strict=True)]
            ids = said[0] + [label for phones in said[1:] for label in (*between, *phones)]
            if len(ids) + sum(a == b for a, b in itertools.pairwise(ids)) <= len(log_probs):
                scores[combination] = align(log_probs, ids, LABELS).score
        assert scores[tuple(choose(log_probs, words, 0, between))] == pytest.approx(max(scores.values()), abs=1e-4)


def test_transcripts_that_do_not_fit():
    log_probs = np.log(np.full((3, len(LABELS)), 0.2, np.float32))
    assert choose(log_probs, [], 0) == []
    assert choose(log_probs, [[[2, 2, 3], [2, 3]]], 0) == [1]
    with pytest.raises(DecodingError, match="1 words do not fit 3 frames"):
        choose(log_probs, [[[2, 2, 3]]], 0)
