"""Each format, read back by a reader of its own."""

import io
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoder import Word
from asr.errors import UsageError
from asr.transcription import subtitles
from asr.transcription.subtitles import make_cues
from asr.transcription.transcript import Alternative, Segment, Transcript
from asr.transcription.writers import WRITERS, parse_formats

# Letters of several scripts, and what the formats themselves use.
WORDS = st.text(st.sampled_from("abcdefgéß漢&<>\"'-.,:;→"), min_size=1, max_size=12).filter(lambda w: "-->" not in w)


@st.composite
def transcripts(draw):
    segments, now = [], 0.0
    separator = draw(st.sampled_from([" ", ""]))
    for texts in draw(st.lists(st.lists(WORDS, min_size=1, max_size=30), max_size=4)):
        start, words = now, []
        for text in texts:
            begin = now + draw(st.sampled_from([0.0, 0.04, 0.2, 1.5]))
            now = begin + draw(st.sampled_from([0.04, 0.3, 1.0]))
            words.append(Word(text, begin, now, draw(st.floats(0, 1)), separator))
        now += draw(st.sampled_from([0.0, 0.3, 90.0, 5000.0]))
        segments.append(Segment(start, now, separator.join(texts), tuple(words)))
    return Transcript(tuple(segments), now + 0.5, "en")


def cue_texts(transcript):
    return [(cue.start, cue.end, list(cue.lines)) for cue in make_cues(transcript)]


@settings(max_examples=60, deadline=None)
@given(transcripts())
def test_srt_is_read_by_srt(transcript):
    srt = pytest.importorskip("srt", reason="needs the [dev] extra")
    read = list(srt.parse(WRITERS["srt"](transcript, "call")))
    assert [cue.index for cue in read] == list(range(1, len(read) + 1))
    expected = [(round(start, 3), round(end, 3), lines) for start, end, lines in cue_texts(transcript)]
    assert [(c.start.total_seconds(), c.end.total_seconds(), c.content.split("\n")) for c in read] == expected


@settings(max_examples=60, deadline=None)
@given(transcripts())
def test_vtt_is_read_by_webvtt(transcript):
    webvtt = pytest.importorskip("webvtt", reason="needs the [dev] extra")
    from html import unescape

    read = webvtt.from_string(WRITERS["vtt"](transcript, "call"))
    got = [(c.start_in_seconds, c.end_in_seconds, [unescape(line) for line in c.raw_text.split("\n")]) for c in read]
    assert len(got) == len(make_cues(transcript))
    for (start, end, lines), (expected_start, expected_end, expected) in zip(got, cue_texts(transcript), strict=True):
        # The reader rounds times down to seconds.
        assert abs(start - expected_start) <= 1
        assert abs(end - expected_end) <= 1
        assert lines == expected


@settings(max_examples=60, deadline=None)
@given(transcripts())
def test_textgrid_is_read_by_praatio(tmp_path_factory, transcript):
    textgrid = pytest.importorskip("praatio.textgrid", reason="needs the [dev] extra")
    path = tmp_path_factory.mktemp("praat") / "call.TextGrid"
    path.write_text(WRITERS["textgrid"](transcript, "call"), encoding="utf-8")
    read = textgrid.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="error")
    expected = {
        "words": [(w.start_seconds, w.end_seconds, w.text) for w in transcript.words],
        "segments": [(s.start, s.end, s.text) for s in transcript.segments],
    }
    for name, intervals in expected.items():
        entries = read.getTier(name).entries
        # Intervals tile the recording, as Praat wants it.
        assert entries[0].start == 0
        assert entries[-1].end == pytest.approx(transcript.duration, abs=1e-6)
        assert all(a.end == b.start for a, b in itertools.pairwise(entries))
        spoken = [(e.start, e.end, e.label) for e in entries if e.label]
        assert [label for _, _, label in spoken] == [text for _, _, text in intervals]
        np.testing.assert_allclose([e[:2] for e in spoken] or 0, [i[:2] for i in intervals] or 0, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(transcripts())
def test_json_tsv_ctm_and_txt_hold_the_words_and_times(transcript):
    read = json.loads(WRITERS["json"](transcript, "call"))
    assert list(read)[:3] == ["text", "segments", "language"]
    assert read["text"] == transcript.text
    assert [s["id"] for s in read["segments"]] == list(range(len(transcript.segments)))
    words = [word for segment in read["segments"] for word in segment["words"]]
    assert [(w["word"], w["start"], w["end"], w["probability"]) for w in words] == [
        (w.text, round(w.start_seconds, 3), round(w.end_seconds, 3), round(w.confidence, 4)) for w in transcript.words
    ]
    rows = [row.split(" ") for row in WRITERS["ctm"](transcript, "a call").splitlines()]
    assert [row[4] for row in rows] == [word.text for word in transcript.words]
    assert all(row[:2] == ["a_call", "1"] for row in rows)
    ends = [float(row[2]) + float(row[3]) for row in rows]
    np.testing.assert_allclose(ends, [word.end_seconds for word in transcript.words], atol=2e-3)
    header, *table = [row.split("\t") for row in WRITERS["tsv"](transcript, "call").splitlines()]
    assert header == ["start", "end", "text"]
    assert table == [[str(round(1000 * s.start)), str(round(1000 * s.end)), s.text] for s in transcript.segments]
    assert WRITERS["txt"](transcript, "call").splitlines() == [segment.text for segment in transcript.segments]


@settings(max_examples=150, deadline=None)
@given(transcripts())
def test_subtitles_are_short_do_not_overlap_and_stay_as_long_as_they_can(transcript):
    cues = make_cues(transcript)
    separator = transcript.segments[0].separator if transcript.segments else ""
    assert separator.join(line for cue in cues for line in cue.lines) == transcript.text
    for cue, after in zip(cues, [*cues, None][1:], strict=True):
        assert 1 <= len(cue.lines) <= subtitles.MAX_LINES
        assert max(map(len, cue.lines)) <= subtitles.MAX_LINE_LENGTH
        length = sum(map(len, cue.lines))
        limit = after.start if after else transcript.duration
        assert cue.start < cue.end <= limit + 1e-9
        # It can be read in time, unless the next one is due.
        assert cue.end - cue.start >= max(
            1.0, length / subtitles.CHARACTERS_PER_SECOND
        ) - 1e-9 or cue.end == pytest.approx(limit)
        assert cue.end - cue.start <= 7.0 + 1e-9


def test_a_word_of_any_length_and_a_long_silence_do_not_break_subtitles():
    words = (Word("a" * 100, 0.0, 1.0, 1.0), Word("b", 100.0, 100.1, 1.0))
    cues = make_cues(Transcript((Segment(0.0, 101.0, "", words),), 101.0))
    assert [cue.lines for cue in cues] == [("a" * 42, "a" * 42, "a" * 16), ("b",)]
    assert cues[0].end < 10
    assert cues[1].start == 100


def test_subtitles_break_where_the_speaker_pauses():
    texts = "when the boat comes in tonight we all go down to the harbour and look for our father there"
    words, now = [], 0.0
    for text in texts.split():
        words.append(Word(text, now, now + 0.25, 1.0))
        now += 0.75 if text == "harbour" else 0.3
    (first, second) = make_cues(Transcript((Segment(0.0, now, texts, tuple(words)),), now))
    assert first.lines[-1].endswith("harbour")
    assert abs(len(first.lines[0]) - len(first.lines[1])) <= 10
    assert second.lines == ("and look for our father there",)


def test_subtitles_break_between_characters_where_there_are_no_spaces():
    words = tuple(Word(text, i / 10, i / 10 + 0.1, 1.0, "") for i, text in enumerate("我们去北京" * 10))
    transcript = Transcript((Segment(0.0, 2.0, "", words[:20]), Segment(2.0, 5.0, "", words[20:])), 5.0)
    assert [[len(line) for line in cue.lines] for cue in make_cues(transcript)] == [[20], [30]]
    (cue,) = make_cues(Transcript((Segment(0.0, 5.0, "", words),), 5.0))
    assert cue.lines == ("我们去北京" * 5,) * 2


def test_alternatives_and_warnings_are_in_the_json_where_there_are_any():
    segment = Segment(0.0, 1.0, "a", (Word("a", 0.0, 0.5, 0.9),), (Alternative("a", -1.0), Alternative("b", -2.0)))
    read = json.load(io.StringIO(WRITERS["json"](Transcript((segment,), 1.0, warnings=("x.wav: cut",)), "x")))
    assert read["segments"][0]["alternatives"] == [{"text": "a", "score": -1.0}, {"text": "b", "score": -2.0}]
    assert read["warnings"] == ["x.wav: cut"]
    assert "language" not in read


def test_formats_are_names_lists_of_them_or_all():
    assert parse_formats(["srt,txt", "json"]) == ("txt", "json", "srt")
    assert parse_formats(["all"]) == tuple(WRITERS)
    with pytest.raises(UsageError, match=r"'jsn' \(did you mean 'json'\?\); expected one or more of txt, json"):
        parse_formats(["jsn"])
