"""Scoring by other conventions: references and hypotheses are normalised in the same way before errors are counted."""

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from asr.errors import MissingExtraError, UsageError, did_you_mean
from asr.evaluation.alignment import align_words
from asr.evaluation.results import Evaluation, UtteranceResult
from asr.files import write_text
from asr.text import ENGLISH

Convention = Literal["none", "english", "whisper", "open-asr"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)

# Of the leaderboard, as of August 2026: what is left out, and after what an apostrophe and s mean "is".
FILLERS = "hmm|mm|mhm|mmm|uh|um|ah|aha|ahh|ahm|eh|ehehe|em|hm|huh|hum|mhum|uhm|umm|uhuh"
PRONOUNS = "it|he|she|what|that|who|here|there|how|when|where|why|this"

# The most words that are taken for the parts of one compound.
MOST_PARTS = 5


def normaliser(convention: str) -> Callable[[str], str]:
    """Return the function that normalises texts before they are compared.

    Parameters
    ----------
    convention : {"none", "english", "whisper", "open-asr"}
        Nothing; this package's profile ``english`` (lower case, letters and apostrophes, accents dropped); Whisper's
        English normaliser, by the package whisper-normalizer; or that as the Open ASR leaderboard has changed it: more
        fillers are left out, ``John's`` is no ``John is``, and single letters in a row are one word (``U.S.`` is
        ``us``). Its lists of some 200 names and compounds are not here.
        https://github.com/huggingface/open_asr_leaderboard, normalizer/normalizer.py, commit d1e99b2.

    Raises
    ------
    UsageError
        If there is no such convention.
    MissingExtraError
        If whisper-normalizer is needed and not installed.
    """
    if convention not in CONVENTIONS:
        raise UsageError(
            f"the scoring convention is {convention!r}; expected {', '.join(CONVENTIONS)}"
            f"{did_you_mean(convention, CONVENTIONS)}"
        )
    if convention == "none":
        return lambda text: text
    if convention == "english":
        profile = replace(ENGLISH, unknown="map")
        return lambda text: profile.treat(profile.clean(text))[0]
    try:
        from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError as error:
        package = (error.name or "").replace("whisper_normalizer", "whisper-normalizer")
        raise MissingExtraError(package, "score", f"--normalise {convention}") from None
    whisper = EnglishTextNormalizer()
    if convention == "whisper":
        return lambda text: str(whisper(text)).strip()
    whisper.ignore_patterns = rf"\b({FILLERS})\b"
    rules = whisper.replacers.items()
    whisper.replacers = dict((rf"\b({PRONOUNS})'s\b", r"\1 is") if old == r"'s\b" else (old, new) for old, new in rules)
    return lambda text: _joined_letters(str(whisper(text)))


def _joined_letters(text: str) -> str:
    """Return a text whose single letters and digits in a row are one word, three at least where one is a or i."""
    words: list[str] = []
    for is_single, run in itertools.groupby(text.split(), lambda word: len(word) == 1 and word.isalnum()):
        group = list(run)
        enough = 3 if {"a", "i"} & set(group) else 2
        words += ["".join(group)] if is_single and len(group) >= enough else group
    return " ".join(words)


def _joined_as(reference: str, hypothesis: str) -> str:
    """Return a hypothesis with its compounds written together or apart as the reference has them."""
    words: list[str] = []
    for is_right, steps in itertools.groupby(
        align_words(reference, hypothesis), lambda step: step.reference == step.hypothesis
    ):
        region = list(steps)
        heard = [step.hypothesis for step in region if step.hypothesis is not None]
        said = [step.reference for step in region if step.reference is not None]
        words += heard if is_right else _best_joined(said, heard)
    return " ".join(words)


def _starts(end: int) -> range:
    """Return where compounds that end before word `end` may begin."""
    return range(max(0, end - MOST_PARTS), end - 1)


def _best_joined(said: list[str], heard: list[str]) -> list[str]:
    """Return `heard` with those words joined as in `said`, or parted, that leave the fewest errors."""
    # The fewest errors of the first i and j words, the pair of numbers before, and the words written since.
    best: dict[tuple[int, int], tuple[int, tuple[int, int], list[str]]] = {(0, 0): (0, (0, 0), [])}

    def after(i: int, j: int, cost: int, words: list[str]) -> tuple[int, tuple[int, int], list[str]]:
        return best[i, j][0] + cost, (i, j), words

    for i, j in itertools.product(range(len(said) + 1), range(len(heard) + 1)):
        ways = []
        if i and j:
            ways.append(after(i - 1, j - 1, int(said[i - 1] != heard[j - 1]), [heard[j - 1]]))
            ways += [after(k, j - 1, 0, said[k:i]) for k in _starts(i) if "".join(said[k:i]) == heard[j - 1]]
            ways += [after(i - 1, k, 0, [said[i - 1]]) for k in _starts(j) if "".join(heard[k:j]) == said[i - 1]]
        if i:
            ways.append(after(i - 1, j, 1, []))
        if j:
            ways.append(after(i, j - 1, 1, [heard[j - 1]]))
        if ways:
            best[i, j] = min(ways, key=lambda way: way[0])
    at = (len(said), len(heard))
    words: list[str] = []
    while at != (0, 0):
        _, at, added = best[at]
        words[:0] = added
    return words


def rescored(evaluation: Evaluation, convention: str) -> Evaluation:
    """Return an evaluation whose texts are normalised and whose errors are counted anew; raises as `normaliser`.

    As on the leaderboard, utterances whose reference has no word left are not scored by its convention, and compounds
    may be written together or apart.
    """
    clean = normaliser(convention)

    def texts(utterance: UtteranceResult) -> tuple[str, str]:
        reference, hypothesis = clean(utterance.reference), clean(utterance.hypothesis)
        return reference, _joined_as(reference, hypothesis) if convention == "open-asr" else hypothesis

    scored = (
        replace(
            UtteranceResult.scored(utterance.id, *texts(utterance)),
            speaker=utterance.speaker,
            duration_seconds=utterance.duration_seconds,
            source=utterance.source,
            timed_words=utterance.timed_words,
        )
        for utterance in evaluation.utterances
    )
    kept = tuple(utterance for utterance in scored if convention != "open-asr" or utterance.reference)
    return replace(evaluation, utterances=kept)


def write_leaderboard(evaluation: Evaluation, folder: Path, model: str, dataset: str, split: str) -> Path:
    """Write raw texts as the Open ASR leaderboard scores them, JSON lines; return the file.

    Parameters
    ----------
    evaluation : Evaluation
        Not normalised. An utterance's ``time`` is its share of the whole by its duration: utterances run in batches.
    folder : Path
    model, dataset, split : str
        For the file's name, ``MODEL_…_DATASET_…__….jsonl``, in which the leaderboard has hyphens for slashes.
    """
    timing = evaluation.timing
    spent = timing.real_time_factor if timing else None
    rows = [
        {
            "audio_filepath": utterance.source or utterance.id,
            "duration": round(utterance.duration_seconds, 6),
            "time": None if spent is None else round(spent * utterance.duration_seconds, 6),
            "text": utterance.reference,
            "pred_text": utterance.hypothesis,
        }
        for utterance in evaluation.utterances
    ]
    names = [re.sub(r"[^\w.-]", "-", name) for name in (model, dataset, split)]
    path = folder / "MODEL_{}_DATASET_{}__{}.jsonl".format(*names)
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path
