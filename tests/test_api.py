"""The public names, frozen: a change here is a change for every user."""

import asr
import asr.decoder


def test_public_names_can_be_had():
    assert sorted(asr._MODULES) == sorted(asr.__all__)
    for name in asr.__all__:
        assert getattr(asr, name).__name__ == name
    for name in asr.decoder.__all__:
        assert getattr(asr.decoder, name).__name__ == name


def test_public_names_are_these():
    assert asr.__all__ == [
        "AsrError", "AudioStream", "AudioWarning", "Bundle", "DecodingOptions", "ErrorCounts", "LogMel", "LogMelConfig",
        "Segment", "Transcriber", "Transcript", "Waveform", "Word", "character_errors", "load", "load_audio",
        "word_errors",
    ]  # fmt: skip
    assert {
        "BeamOptions", "BeamSearchDecoder", "GreedyDecoder", "Hotwords", "Hypothesis", "Lexicon", "NGramModel", "Word",
        "align",
    } <= set(asr.decoder.__all__)  # fmt: skip
