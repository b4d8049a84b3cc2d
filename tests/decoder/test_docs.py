"""The examples of docs/decoder.md run, on arrays of the shapes that the models give."""

import re
from pathlib import Path

import numpy as np
import pytest

from asr.decoder import BeamSearchDecoder, Hypothesis, NGramModel, log_softmax

GUIDE = Path(__file__).parents[2] / "docs" / "decoder.md"
LETTERS = "ETAONIHSRDLUMWCFGYPBVK'XJQZ"


def example(heading, **names):
    """Run the first Python example under a heading and return what it defines."""
    section = re.split(r"\n##+ ", GUIDE.read_text(encoding="utf-8").split(f"# {heading}\n")[1])[0]
    code = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0]
    exec(compile(code, f"{GUIDE.name}: {heading}", "exec"), names)
    return names


def spoken(rng, tokens, num_labels, blank):
    logits = rng.normal(size=(2 * len(tokens) + 1, num_labels))
    logits[0::2, blank] += 15
    logits[np.arange(1, len(logits), 2), tokens] += 15
    return logits.astype(np.float32)


def test_first_example():
    names = example("Decode the output of any CTC model")
    best = names["best"]
    assert best.text == "ab"
    (word,) = best.words
    assert (word.text, word.start_seconds, round(word.end_seconds, 6), round(word.confidence, 6)) == (
        "ab",
        0,
        0.12,
        0.7,
    )


def test_wav2vec():
    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4} | {c: i for i, c in enumerate(LETTERS, 5)}
    tokens = [vocabulary[c] for c in "DON'T|STOP"]
    names = example("wav2vec 2.0 from Hugging Face", vocabulary=vocabulary,
                    logits=spoken(np.random.default_rng(0), tokens, 32, blank=0))  # fmt: skip
    hypotheses = names["decoder"](names["logits"])
    assert hypotheses[0].text == "DON'T STOP"
    assert len(hypotheses) == 3
    assert hypotheses[0].words[1].start_seconds == pytest.approx(0.02 * 13)


@pytest.mark.parametrize(
    ("vocabulary", "tokens", "text"),
    [
        ([" ", *"abcdefghijklmnopqrstuvwxyz", "'"], [8, 9, 0, 25, 15, 21], "hi you"),
        (["<unk>", *(f"▁w{i}" for i in range(1000)), "s", "ing"], [5, 1001, 7, 1002], "w4s w6ing"),
    ],
)
def test_nemo(vocabulary, tokens, text):
    rng = np.random.default_rng(1)
    size, blank = len(vocabulary) + 1, len(vocabulary)
    batch = np.stack([log_softmax(spoken(rng, tokens, size, blank)) for _ in range(2)])
    padded = np.pad(batch, ((0, 0), (0, 4), (0, 0)))
    names = example("NeMo", vocabulary=vocabulary, log_probs=padded, lengths=[batch.shape[1]] * 2)
    assert names["texts"] == [text, text]


def test_models_hotwords_and_streams(lm, monkeypatch):
    monkeypatch.setattr(NGramModel, "read", lambda _path: lm)
    labels = [*"_ abcdefghijklmnopqrstuvwxyz"]
    log_probs = log_softmax(spoken(np.random.default_rng(2), [2, 3, 1, 2], len(labels), blank=0))
    names = example("Language models", labels=labels)
    decoder = names["decoder"]
    assert isinstance(decoder, BeamSearchDecoder)
    assert names["other"].options.alpha == 0.8
    example("Hotwords", decoder=decoder, log_probs=log_probs)
    names = example("Streams", decoder=decoder, chunks=np.array_split(log_probs, 3))
    assert isinstance(names["best"], Hypothesis)
    assert names["best"] == decoder(log_probs)[0]
    assert names["best"].text == "ab a"
