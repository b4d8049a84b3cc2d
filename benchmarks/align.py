"""Forced alignment: time and memory, beside a full table of back-pointers in NumPy and beside ctc-segmentation.

    python benchmarks/align.py [--minutes 60] [--peer-minutes 5]

The log-probs are made up: 25 frames a second, about 14 characters a second, peaks of posterior 0.7 on average over a
noisy floor. ctc-segmentation (PyPI) is timed where it is installed. Prints ratios of one run.
"""

import argparse
import itertools
import resource
import time
from typing import Any

import numpy as np

from asr.decoder import align

LABELS = ["<blank>", *"abcdefghijklmnopqrstuvwxyz", " ", "'"]
FRAME_SECONDS = 0.04


def recording(minutes: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return log-probs ``(T, V)`` float32, token ids, and the frame in which each was put."""
    rng = np.random.default_rng(seed)
    num_frames = int(minutes * 60 / FRAME_SECONDS)
    tokens = rng.integers(1, len(LABELS), int(num_frames * 0.555))
    needed = len(tokens) + int((tokens[1:] == tokens[:-1]).sum())
    free = np.sort(rng.integers(0, num_frames - needed + 1, len(tokens)))
    frames = free + np.arange(len(tokens)) + np.cumsum(np.append(False, tokens[1:] == tokens[:-1]))
    logits = rng.normal(0.0, 1.0, (num_frames, len(LABELS)))
    truth = np.zeros(num_frames, int)
    truth[frames] = tokens
    logits[np.arange(num_frames), truth] += rng.normal(5.0, 1.5, num_frames)
    log_probs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return log_probs.astype(np.float32), tokens, frames


def full_table(log_probs: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Viterbi with every back-pointer kept, one NumPy row per frame; return each token's first frame."""
    states = np.zeros(2 * len(tokens) + 1, int)
    states[1::2] = tokens
    skip = np.full(len(states), -np.inf)
    skip[3::2] = np.where(tokens[1:] != tokens[:-1], 0, -np.inf)
    scores = np.full(len(states), -np.inf)
    scores[:2] = log_probs[0, states[:2]]
    moves = np.zeros((len(log_probs), len(states)), np.uint8)
    for t in range(1, len(log_probs)):
        step = np.concatenate([[-np.inf], scores[:-1]])
        jump = np.concatenate([[-np.inf, -np.inf], scores[:-2]]) + skip
        choices = np.stack([scores, step, jump])
        moves[t] = choices.argmax(0)
        scores = choices.max(0) + log_probs[t, states]
    state = len(states) - 1 - int(scores[-2] > scores[-1])
    starts = np.zeros(len(tokens), int)
    for t in range(len(log_probs) - 1, -1, -1):
        if state % 2:
            starts[state // 2] = t
        state -= int(moves[t, state])
    return starts


def ctc_segmentation_starts(log_probs: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Align with ctc-segmentation, which looks for the best path anywhere in the recording, with a window."""
    import ctc_segmentation

    config = ctc_segmentation.CtcSegmentationParameters(char_list=LABELS, blank=0, index_duration=1.0)
    ground_truth, _ = ctc_segmentation.prepare_token_list(config, [tokens])
    timings, _, _ = ctc_segmentation.ctc_segmentation(config, log_probs, ground_truth)
    return np.asarray(timings[1 : len(tokens) + 1])


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def timed(work, *arguments, **options):
    start = time.perf_counter()
    result = work(*arguments, **options)
    return result, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--peer-minutes", type=float, default=5)
    arguments = parser.parse_args()
    # Compiled, or loaded from the cache, before anything is timed.
    align(np.log(np.full((3, 2), 0.5)), [1], ["-", "a"], frame_seconds=FRAME_SECONDS)

    log_probs, tokens, frames = recording(arguments.minutes)
    before = peak_mb()
    result, seconds = timed(align, log_probs, tokens, LABELS, frame_seconds=1.0)
    print(f"{arguments.minutes:g} minutes, {len(log_probs):,} frames, {len(tokens):,} characters: {seconds:.1f} s")
    print(f"peak memory {peak_mb():.0f} MB, of which {before:.0f} before; {describe(result, frames)}")

    log_probs, tokens, frames = recording(arguments.peer_minutes)
    result, seconds = timed(align, log_probs, tokens, LABELS, frame_seconds=1.0)
    print(f"{arguments.peer_minutes:g} minutes: {seconds * 1000:.0f} ms; {describe(result, frames)}")
    starts, peer_seconds = timed(full_table, log_probs, tokens)
    same = starts.tolist() == [int(token.start_seconds) for token in result.tokens]
    print(f"full table in NumPy: {peer_seconds:.2f} s; ratio {peer_seconds / seconds:.1f}; the same path: {same}")
    try:
        _, peer_seconds = timed(ctc_segmentation_starts, log_probs, tokens)
    except ImportError:
        print("ctc-segmentation is not installed")
        return
    print(f"ctc-segmentation: {peer_seconds:.2f} s; ratio {peer_seconds / seconds:.1f}")


def describe(result: Any, frames: np.ndarray) -> str:
    starts = np.array([token.start_seconds for token in result.tokens])
    spans = [time for token in result.tokens for time in (token.start_seconds, token.end_seconds)]
    assert all(x <= y for x, y in itertools.pairwise(spans))
    return f"{np.mean(np.abs(starts - frames) <= 1):.1%} of its starts within a frame"


if __name__ == "__main__":
    main()
