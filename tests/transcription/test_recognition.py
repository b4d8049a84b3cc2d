"""Batches: each utterance once, the longest first, padded to no more frames than the budget."""

from hypothesis import given
from hypothesis import strategies as st

from asr.transcription.recognition import BATCH_FRAMES, batches_by_length


@given(st.lists(st.integers(0, 2 * BATCH_FRAMES), max_size=60))
def test_batches_hold_each_utterance_once_within_the_budget(num_frames):
    batches = list(batches_by_length(num_frames))
    order = [index for batch in batches for index in batch]
    assert sorted(order) == list(range(len(num_frames)))
    assert [num_frames[index] for index in order] == sorted(num_frames, reverse=True)
    for batch in batches:
        longest = num_frames[batch[0]]
        assert len(batch) == 1 or longest * len(batch) <= BATCH_FRAMES
    # No batch could have taken the next utterance, too.
    assert all(num_frames[batch[0]] * (len(batch) + 1) > BATCH_FRAMES for batch in batches[:-1])
