"""Scoring by other people's conventions: references and hypotheses are normalised alike before errors are counted."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from asr.errors import MissingExtraError, UsageError, did_you_mean
from asr.evaluation.results import Evaluation, UtteranceResult
from asr.files import write_text
from asr.text import ENGLISH

Convention = Literal["none", "english", "whisper", "open-asr"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)

# Of the leaderboard, before Whisper's rules: an ellipsis is no word, and dotted initials are one.
ELLIPSIS = re.compile(r"\s*\.{3,}\s*")
INITIALS = re.compile(r"\b[a-z](?:\.[a-z]){1,3}\b")


def normaliser(convention: str) -> Callable[[str], str]:
    """Return what texts pass through before they are compared.

    Parameters
    ----------
    convention : {"none", "english", "whisper", "open-asr"}
        Nothing; this package's profile ``english`` (lower case, letters and apostrophes, accents dropped); Whisper's
        English normaliser, by the package whisper-normalizer; or that with what the Open ASR leaderboard has published
        besides: ellipses are dropped and initials joined (``U.S.`` is ``us``). Its lists of names and of acronyms are
        not here. https://github.com/huggingface/open_asr_leaderboard, normalizer/normalizer.py.

    Raises
    ------
    UsageError
        If there is no such convention.
    MissingExtraError
        If whisper-normalizer is needed and not installed.
    """
    if convention not in CONVENTIONS:
        raise UsageError(
            f"the convention of scoring is {convention!r}; expected {', '.join(CONVENTIONS)}"
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
    return lambda text: str(whisper(_for_leaderboard(text))).strip()


def _for_leaderboard(text: str) -> str:
    text = ELLIPSIS.sub(" ", text.lower()).strip()
    return INITIALS.sub(lambda match: match[0].replace(".", ""), text)


def rescored(evaluation: Evaluation, convention: str) -> Evaluation:
    """Return an evaluation whose texts are normalised and whose errors are counted anew; raises as `normaliser`.

    As on the leaderboard, utterances whose reference has no word left are not scored by its convention.
    """
    clean = normaliser(convention)
    scored = (
        replace(
            UtteranceResult.scored(utterance.id, clean(utterance.reference), clean(utterance.hypothesis)),
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
