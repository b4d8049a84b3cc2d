"""Transcript → the text of a file: txt, json, srt, vtt, tsv, ctm, textgrid."""

import json
import re
from collections.abc import Callable, Iterable

from asr.errors import UsageError, did_you_mean
from asr.transcription.subtitles import make_cues
from asr.transcription.transcript import Transcript

# (transcript, name of the recording) -> the file's text.
Writer = Callable[[Transcript, str], str]

ALL = "all"


def to_txt(transcript: Transcript, _name: str) -> str:
    """Return the words, one segment per line."""
    return "".join(f"{segment.text}\n" for segment in transcript.segments)


def to_json(transcript: Transcript, _name: str) -> str:
    """Return whisper's JSON; see `Transcript.to_dict`."""
    return json.dumps(transcript.to_dict(), ensure_ascii=False, indent=2) + "\n"


def to_srt(transcript: Transcript, _name: str) -> str:
    """Return SubRip subtitles."""
    return "\n".join(
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{_joined(cue.lines)}"
        for number, cue in enumerate(make_cues(transcript), 1)
    )


def to_vtt(transcript: Transcript, _name: str) -> str:
    """Return WebVTT subtitles (W3C)."""
    escaped = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
    cues = [
        f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_joined(cue.lines).translate(escaped)}"
        for cue in make_cues(transcript)
    ]
    return "\n".join(["WEBVTT\n", *cues])


def to_tsv(transcript: Transcript, _name: str) -> str:
    """Return whisper's table of segments: start and end in milliseconds, text."""
    rows = [
        f"{round(1000 * segment.start)}\t{round(1000 * segment.end)}\t{segment.text}" for segment in transcript.segments
    ]
    return "\n".join(["start\tend\ttext", *rows]) + "\n"


def to_ctm(transcript: Transcript, name: str) -> str:
    """Return NIST's time-marked words: recording, channel, start and duration in seconds, word, confidence."""
    # Fields are what white space separates.
    recording = re.sub(r"\s+", "_", name)
    channel = transcript.channel or 1
    return "".join(
        f"{recording} {channel} {word.start_seconds:.3f} {word.end_seconds - word.start_seconds:.3f} {word.text} "
        f"{word.confidence:.4f}\n"
        for word in transcript.words
    )


def to_textgrid(transcript: Transcript, _name: str) -> str:
    """Return Praat's TextGrid, in its long form, with a tier of words and one of segments."""
    tiers = {
        "words": [(word.start_seconds, word.end_seconds, word.text) for word in transcript.words],
        "segments": [(segment.start, segment.end, segment.text) for segment in transcript.segments],
    }
    ends = [end for intervals in tiers.values() for _, end, _ in intervals]
    end = max([transcript.duration, *ends])
    lines = [
        'File type = "ooTextFile"', 'Object class = "TextGrid"', "",
        "xmin = 0", f"xmax = {end:.6f}", "tiers? <exists>", f"size = {len(tiers)}", "item []:",
    ]  # fmt: skip
    for index, (tier, intervals) in enumerate(tiers.items(), 1):
        tiled = _tile(intervals, end)
        lines += [
            f"    item [{index}]:",
            '        class = "IntervalTier"',
            f'        name = "{tier}"',
            "        xmin = 0",
            f"        xmax = {end:.6f}",
            f"        intervals: size = {len(tiled)}",
        ]
        for number, (first, last, text) in enumerate(tiled, 1):
            quoted = text.replace('"', '""')
            lines += [
                f"        intervals [{number}]:",
                f"            xmin = {first:.6f}",
                f"            xmax = {last:.6f}",
                f'            text = "{quoted}"',
            ]
    return "\n".join(lines) + "\n"


WRITERS: dict[str, Writer] = {
    "txt": to_txt,
    "json": to_json,
    "srt": to_srt,
    "vtt": to_vtt,
    "tsv": to_tsv,
    "ctm": to_ctm,
    "textgrid": to_textgrid,
}


def parse_formats(given: Iterable[str]) -> tuple[str, ...]:
    """Return the formats named in ``["txt,srt", "json"]`` or ``["all"]``, each once, in the order of `WRITERS`.

    Raises
    ------
    UsageError
        If one is unknown; the message lists those that are known.
    """
    names = [name.strip().lower() for text in given for name in text.split(",")]
    for name in names:
        if name not in (*WRITERS, ALL):
            raise UsageError(
                f"unknown output format {name!r}{did_you_mean(name, [*WRITERS, ALL])}; expected one or more of "
                f"{', '.join(WRITERS)}, separated by commas, or all"
            )
    return tuple(name for name in WRITERS if name in names or ALL in names)


def _tile(intervals: Iterable[tuple[float, float, str]], end: float) -> list[tuple[float, float, str]]:
    """Return intervals that follow one another from 0 to `end`; Praat expects the gaps to be filled."""
    tiled: list[tuple[float, float, str]] = []
    now = 0.0
    for first, last, text in intervals:
        # Praat rejects intervals of zero length.
        begin = max(now, round(first, 6))
        if begin > now:
            tiled.append((now, begin, ""))
        if round(last, 6) > begin:
            tiled.append((begin, round(last, 6), text))
            now = round(last, 6)
        else:
            now = begin
    if not tiled or now < round(end, 6):
        tiled.append((now, end, ""))
    return tiled


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"
