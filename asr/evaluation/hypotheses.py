"""Hypotheses on the disk: JSON lines as in NeMo, and sclite's trn files.

hypotheses.jsonl    one utterance per line: ``audio_filepath``, ``duration``, ``text`` and ``pred_text`` as in NeMo's
                    evaluation manifests; ``id``, ``speaker``, ``errors`` and ``words`` besides
ref.trn, hyp.trn    one utterance per line: its words, then ``(speaker-utterance)``, as NIST's sclite reads them
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from asr.decoder import Word
from asr.errors import DataError, UsageError
from asr.evaluation.results import Evaluation, UtteranceResult
from asr.files import write_text
from asr.preparation.parsing import read_lines

HYPOTHESES = "hypotheses.jsonl"
REFERENCE_TRN = "ref.trn"
HYPOTHESIS_TRN = "hyp.trn"

# "one two three (fcaw-an409)"
TRN_LINE = re.compile(r"(?P<text>.*)\((?P<id>[^()\s]+)\)\s*")


def write_hypotheses(evaluation: Evaluation, folder: Path) -> None:
    """Write the three files into `folder`, which is made."""
    utterances = evaluation.utterances
    rows = (json.dumps(_row(utterance), ensure_ascii=False) + "\n" for utterance in utterances)
    write_text(folder / HYPOTHESES, "".join(rows))
    names = [trn_id(utterance) for utterance in utterances]
    for path, texts in (
        (folder / REFERENCE_TRN, (utterance.reference for utterance in utterances)),
        (folder / HYPOTHESIS_TRN, (utterance.hypothesis for utterance in utterances)),
    ):
        lines = (f"{text} ({name})\n".lstrip() for text, name in zip(texts, names, strict=True))
        write_text(path, "".join(lines))


def _row(utterance: UtteranceResult) -> dict[str, Any]:
    return {
        "id": utterance.id,
        "audio_filepath": utterance.source,
        "duration": round(utterance.duration_seconds, 6),
        "text": utterance.reference,
        "pred_text": utterance.hypothesis,
        "speaker": utterance.speaker,
        "errors": utterance.words.to_dict(),
        "words": [
            {
                "word": word.text,
                "start": round(word.start_seconds, 3),
                "end": round(word.end_seconds, 3),
                "probability": round(word.confidence, 4),
            }
            for word in utterance.timed_words
        ],
    }


def trn_id(utterance: UtteranceResult) -> str:
    """Return ``speaker-utterance``: sclite takes what stands before the first hyphen for the speaker."""
    speaker = re.sub(r"[-_()\s]", ".", utterance.speaker) or "unknown"
    name = re.sub(r"[()\s]", ".", utterance.id)
    return f"{speaker}-{name}"


def read_evaluation(path: Path, references: Path | None = None) -> Evaluation:
    """Read hypotheses and score them.

    Parameters
    ----------
    path : Path
        A folder that ``asr evaluate --out`` wrote, a ``.jsonl`` (or ``.json``) file of NeMo's, or a ``.trn`` file.
    references : Path, optional
        The references of a trn file, themselves a trn file; by default ``ref.trn`` beside it.

    Raises
    ------
    UsageError
        If there is no such file, or its kind is unknown.
    DataError
        If a line is invalid, an id occurs twice, or a hypothesis lacks its reference.
    """
    if path.is_dir():
        found = [path / name for name in (HYPOTHESES, HYPOTHESIS_TRN) if (path / name).is_file()]
        if not found:
            raise UsageError(
                f"{path}: holds neither {HYPOTHESES} nor {HYPOTHESIS_TRN}; expected what asr evaluate --out wrote"
            )
        path = found[0]
    if not path.is_file():
        raise UsageError(f"{path}: no such file; expected hypotheses: a folder of asr evaluate --out, .jsonl or .trn")
    if path.suffix == ".trn":
        utterances = _pair_trn(path, references or path.with_name(REFERENCE_TRN))
    elif path.suffix in (".jsonl", ".json"):
        utterances = _unique((_parse_row(line, where) for where, line in _numbered(path)), path)
    else:
        raise UsageError(f"{path}: is of an unknown kind; expected a name that ends in .jsonl or .trn, or a folder")
    if not utterances:
        raise DataError(f"{path}: holds no hypothesis; expected one per line")
    return Evaluation(tuple(utterances))


def _numbered(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(read_lines(path), start=1):
        yield f"{path}, hypothesis {number}", line


def _parse_row(line: str, where: str) -> UtteranceResult:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: is not JSON ({error}); expected an object with text and pred_text") from None
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("text", "pred_text")):
        got = ", ".join(sorted(row)) if isinstance(row, dict) else type(row).__name__
        raise DataError(f"{where}: got {got}; expected text (the reference) and pred_text (the hypothesis)")
    name = row.get("id") or row.get("audio_filepath")
    if not name:
        raise DataError(f"{where}: has neither id nor audio_filepath; expected one of them, to tell utterances apart")
    try:
        return replace(
            UtteranceResult.scored(str(name), row["text"], row["pred_text"]),
            speaker=str(row.get("speaker") or ""),
            duration_seconds=float(row.get("duration") or 0.0),
            source=str(row.get("audio_filepath") or ""),
            timed_words=tuple(
                Word(str(word["word"]), float(word["start"]), float(word["end"]), float(word["probability"]))
                for word in row.get("words") or ()
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{where}: invalid duration or words ({error!r}); expected a number of seconds, and for each "
            "word: word, start, end, probability"
        ) from None


def _pair_trn(path: Path, references: Path) -> list[UtteranceResult]:
    if not references.is_file():
        raise UsageError(f"{references}: no such file; {path} needs references: give them with --references FILE.trn")
    expected, got = (_read_trn(file) for file in (references, path))
    missing = [name for name in expected if name not in got]
    extra = [name for name in got if name not in expected]
    if missing or extra:
        raise DataError(f"{path} and {references} have different utterances: {describe_difference(missing, extra)}")
    return [
        replace(UtteranceResult.scored(name, text, got[name]), speaker=name.partition("-")[0])
        for name, text in expected.items()
    ]


def _read_trn(path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for where, line in _numbered(path):
        match = TRN_LINE.fullmatch(line)
        if not match:
            raise DataError(f"{where}: got {line[:80]!r}; expected words, then (speaker-utterance)")
        if match["id"] in texts:
            raise DataError(f"{where}: the id {match['id']} occurs twice; expected each once")
        texts[match["id"]] = match["text"].strip()
    return texts


def _unique(utterances: Iterable[UtteranceResult], path: Path) -> list[UtteranceResult]:
    found: dict[str, UtteranceResult] = {}
    for utterance in utterances:
        if utterance.id in found:
            raise DataError(f"{path}: the id {utterance.id} occurs twice; expected each once")
        found[utterance.id] = utterance
    return list(found.values())


def describe_difference(missing: list[str], extra: list[str]) -> str:
    """Return a few words on ids that one side lacks, and on ids that only it has; a few of each are named."""
    parts = [
        f"{len(ids)} {what} ({', '.join(ids[:3])}{', …' if len(ids) > 3 else ''})"
        for ids, what in ((missing, "missing"), (extra, "too many"))
        if ids
    ]
    return " and ".join(parts)
