"""The figures of an evaluation as text for terminals and as JSON."""

from typing import Any

from asr.evaluation.results import Evaluation

# A terminal shows this many speakers, those with the most errors; results.json has all.
SHOWN_SPEAKERS = 30


def to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """Return all figures for ``results.json``; rates in per cent.

    Raises
    ------
    DataError
        If no reference has a word: there is no rate then.
    """
    by_speaker, timing = evaluation.interval_by_speaker(), evaluation.timing
    return {
        **evaluation.summary(),
        "interval_by_speaker": None if by_speaker is None else [round(100 * rate, 2) for rate in by_speaker],
        "word_errors": _counts(evaluation),
        "character_errors": evaluation.characters.to_dict(),
        "sentence_errors": evaluation.wrong_sentences,
        "timing": timing
        and {
            "audio_seconds": round(timing.audio_seconds, 3),
            "network_seconds": round(timing.network_seconds, 3),
            "decoder_seconds": round(timing.decoder_seconds, 3),
            "real_time_factor": round(timing.real_time_factor, 6),
        },
        "by_speaker": _groups(evaluation.by_speaker()),
        "by_words": _groups(evaluation.by_words()),
        "by_duration": _groups(evaluation.by_duration()),
    }


def _groups(groups: dict[str, Evaluation]) -> dict[str, Any]:
    return {name: {"utterances": len(group.utterances), **_counts(group)} for name, group in groups.items()}


def _counts(evaluation: Evaluation) -> dict[str, Any]:
    rate = evaluation.words.rate
    return {**evaluation.words.to_dict(), "wer": None if rate is None else round(100 * rate, 3)}


def groups_table(title: str, groups: dict[str, Evaluation]) -> str:
    """Return a line for each group: utterances, words, errors, WER in per cent."""
    lines = [f"{title:20} {'# Snt':>6} {'# Wrd':>7} {'errors':>7} {'WER %':>7}"]
    for name, group in groups.items():
        counts = group.words
        rate = "–" if counts.rate is None else f"{100 * counts.rate:.1f}"
        lines.append(f"{name:20} {len(group.utterances):6} {counts.reference_length:7} {counts.errors:7} {rate:>7}")
    return "\n".join(lines)


def timing_line(evaluation: Evaluation) -> str:
    """Return how long recognition took; empty if unknown."""
    timing = evaluation.timing
    if timing is None:
        return ""
    factor = timing.real_time_factor
    return (
        f"real-time factor {factor:.4f} ({1 / factor:.0f} × real time): {timing.audio_seconds:.1f} s of audio, network "
        f"{timing.network_seconds:.2f} s, decoder {timing.decoder_seconds:.2f} s"
    )
