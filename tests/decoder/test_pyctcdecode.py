"""pyctcdecode's names on our search: what its users rely on, its formula of the score, and its files."""

import itertools
import json
import math
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from asr.decoder import pyctcdecode
from asr.decoder.ngram import NGramModel
from asr.decoder.pyctcdecode import Alphabet, BeamSearchDecoderCTC, LanguageModel, build_ctcdecoder
from asr.decoder.pyctcdecode.alphabet import UNK_TOKEN
from asr.errors import DecodingError, UsageError

from .ngram.models import TINY_ARPA

LABELS = ["<pad>", "|", "a", "b", "c", "<unk>"]
# Wide enough to lose nothing of eight frames.
WIDE = {"beam_width": 3000, "beam_prune_logp": -200.0, "token_min_logp": -100.0}


@pytest.fixture
def arpa(tmp_path):
    path = tmp_path / "tiny.arpa"
    path.write_text(TINY_ARPA)
    return path


def logits_of(seed, frames=7):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(frames, len(LABELS))) * 2
    logits[:, 5] = -40
    return logits


def log_probs_of(logits):
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def acoustic_scores(logits):
    """Return the log-probability of each labelling, summed over all paths one by one."""
    log_probs = log_probs_of(logits)
    scores: dict[str, float] = {}
    for path in itertools.product(range(5), repeat=len(log_probs)):
        text = "".join("_ abc"[label] for label, _ in itertools.groupby(path)).replace("_", "")
        score = math.fsum(log_probs[frame, label] for frame, label in enumerate(path))
        scores[text] = np.logaddexp(scores.get(text, -np.inf), score)
    return scores


def fused(lm, text, hotwords=(), weight=0.0):
    """Return what counts beside the acoustics, by pyctcdecode's documentation."""
    words = text.split()
    total = weight * sum(word in hotwords for word in words)
    state = lm.get_start_state()
    for i, word in enumerate(words):
        score, state = lm.score(state, word, is_last_word=i == len(words) - 1)
        total += score
    return total


@pytest.mark.parametrize(
    ("labels", "expected", "is_bpe"),
    [
        (["<pad>", "|", "a", "<unk>"], ["", " ", "a", "⁇"], False),
        (["[PAD]", " ", "a", "[UNK]"], ["", " ", "a", "⁇"], False),
        (["a", "b", " "], ["a", "b", " ", ""], False),
        (["_", " ", "a"], ["", " ", "a"], False),
        (["<pad>", "_", "|", " "], ["", "_", "|", " "], False),
        (["<pad>", "<s>", "</s>", "<unk>", "|", "E"], ["", "<s>", "</s>", "⁇", " ", "E"], False),
        (["▁a", "b", "▁", "<unk>"], ["▁a", "b", "▁", "▁⁇▁", ""], True),
        (["the", "##s", "[UNK]", "[PAD]"], ["▁the", "s", "▁⁇▁", ""], True),
    ],
)
def test_alphabets_are_pyctcdecodes(labels, expected, is_bpe):
    alphabet = Alphabet.build_alphabet(labels)
    assert (alphabet.labels, alphabet.is_bpe) == (expected, is_bpe)
    again = Alphabet.loads(alphabet.dumps())
    assert (again.labels, again.is_bpe) == (expected, is_bpe)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "changes", [{}, {"score_boundary": False}, {"unk_score_offset": -2.0, "alpha": 0.9, "beta": 0.2}]
)
def test_scores_are_exact_sums_and_pyctcdecodes_formula(arpa, seed, changes):
    logits = logits_of(seed, frames=6)
    lm = LanguageModel(arpa, **changes)
    beams = BeamSearchDecoderCTC(Alphabet.build_alphabet(LABELS), lm).decode_beams(logits, **WIDE)
    acoustic = acoustic_scores(logits)
    # Double and outer delimiters write the same text; the best such labelling stands for it.
    best: dict[str, float] = {}
    for text, score in acoustic.items():
        written = " ".join(text.split())
        best[written] = max(best.get(written, -np.inf), score)
    ranked = sorted(((score + fused(lm, text), text) for text, score in best.items() if text), reverse=True)
    found = [(beam[4], beam[0]) for beam in beams if beam[0]][:10]
    assert [text for _, text in found] == [text for _, text in ranked[:10]]
    assert [score for score, _ in found] == pytest.approx([score for score, _ in ranked[:10]], abs=1e-4)
    for text, _, _, logit_score, _ in beams[:10]:
        if text:
            assert logit_score == pytest.approx(best[text], abs=1e-4)


def test_hotwords_count_by_word_and_unknown_ones_keep_their_cost(arpa):
    logits = logits_of(3, frames=6)
    decoder = build_ctcdecoder(LABELS, arpa)
    lm = decoder.model_container[decoder._model_key]
    beams = decoder.decode_beams(logits, hotwords=["b ab", "xyz"], hotword_weight=6.0, **WIDE)
    for text, _, _, logit_score, score in beams[:20]:
        if text:
            assert score == pytest.approx(logit_score + fused(lm, text, ("b", "ab"), 6.0), abs=1e-4), text


def test_logits_log_probabilities_and_probabilities_mean_the_same(arpa):
    decoder, logits = build_ctcdecoder(LABELS, arpa), logits_of(4)
    log_probs = log_probs_of(logits)
    results = [decoder.decode_beams(values)[:3] for values in (logits, log_probs, np.exp(log_probs))]
    for result in results[1:]:
        assert [beam[0] for beam in result] == [beam[0] for beam in results[0]]
        assert [beam[4] for beam in result] == pytest.approx([beam[4] for beam in results[0]], abs=1e-4)


def test_frames_and_states(arpa):
    labels = [0, 2, 2, 0, 1, 1, 3, 0, 3]
    logits = np.full((len(labels), len(LABELS)), -8.0)
    logits[np.arange(len(labels)), labels] = 8
    decoder = build_ctcdecoder(LABELS, arpa)
    text, state, frames, logit_score, lm_score = decoder.decode_beams(logits)[0]
    assert (text, frames) == ("a bb", [("a", (1, 3)), ("bb", (6, 9))])
    assert logit_score == pytest.approx(0, abs=1e-3)
    assert lm_score != logit_score
    model = NGramModel.read(arpa)
    # From the state on, what follows is scored as if it had been said in one go.
    after = decoder.decode_beams(logits, lm_start_state=state)[0]
    whole = model.log_probs("a bb a bb")
    lm = decoder.model_container[decoder._model_key]
    expected = whole[2:].sum() * lm.alpha + 2 * lm.beta + lm.alpha * lm.unk_score_offset * math.log(10)
    assert after[4] - after[3] == pytest.approx(expected, abs=1e-4)
    without = build_ctcdecoder(LABELS).decode_beams(logits)[0]
    assert without[1] is None
    assert without[3] == without[4]


def test_batches_with_any_pool(arpa):
    decoder = build_ctcdecoder(LABELS, arpa)
    utterances = [logits_of(seed) for seed in range(4)] + [np.zeros((0, len(LABELS)))]
    expected = [decoder.decode(utterance) for utterance in utterances]
    assert expected[-1] == ""
    for pool in (None, types.SimpleNamespace(_processes=3)):
        assert decoder.decode_batch(pool, utterances) == expected
        beams = decoder.decode_beams_batch(pool, utterances)
        assert [beam[0][0] for beam in beams] == expected
        assert [len(beam[0]) for beam in beams] == [4] * 5
    assert decoder.decode_beams_batch(None, np.stack(utterances[:2]))[1][0] == (
        *decoder.decode_beams(utterances[1])[0][:1],
        *decoder.decode_beams(utterances[1])[0][2:],
    )


def test_weights_can_be_set_in_place(arpa):
    decoder, logits = build_ctcdecoder(LABELS, arpa), logits_of(6)
    lm = decoder.model_container[decoder._model_key]
    decoder.reset_params(alpha=0.0, beta=0.0, unk_score_offset=None, lm_score_boundary=False)
    assert lm.serializable_attrs == {"alpha": 0.0, "beta": 0.0, "unk_score_offset": -10.0, "score_boundary": False}
    beam = decoder.decode_beams(logits)[0]
    assert beam[3] == pytest.approx(beam[4])
    lm.beta = 2.0
    again = next(other for other in decoder.decode_beams(logits) if other[0] == beam[0])
    assert again[4] - again[3] == pytest.approx(2 * len(beam[0].split()))


@pytest.mark.parametrize("unigrams", [[], ["A", "ZEBRA"]])
def test_unigrams_of_which_none_is_in_the_model_change_nothing(arpa, unigrams, caplog):
    decoder, logits = build_ctcdecoder(LABELS, arpa, unigrams=unigrams), logits_of(7)
    assert decoder.decode_beams(logits) == build_ctcdecoder(LABELS, arpa).decode_beams(logits)
    assert ("lists 0 of 2 unigrams, not 'A', 'ZEBRA'" in caplog.text) == bool(unigrams)


def test_unigrams_say_what_is_known(arpa):
    decoder = build_ctcdecoder(LABELS, arpa, unigrams=["a", "zebra"])
    lm = decoder.model_container[decoder._model_key]
    assert ("a" in lm, "b" in lm, "zebra" in lm, "<unk>" in lm) == (True, False, False, False)
    assert lm.unigrams == {"a"}
    logits = logits_of(7)
    known = {beam[0]: beam[4] for beam in build_ctcdecoder(LABELS, arpa).decode_beams(logits, **WIDE)}
    fewer = {beam[0]: beam[4] for beam in decoder.decode_beams(logits, **WIDE)}
    assert fewer["a"] == pytest.approx(known["a"], abs=1e-4)
    assert fewer["b"] < known["b"] - 5


def test_folders_are_those_of_hugging_face(arpa, tmp_path):
    decoder, logits = build_ctcdecoder(LABELS, arpa, alpha=0.7, beta=1.0, unk_score_offset=-5.0), logits_of(8)
    folder = tmp_path / "saved"
    decoder.save_to_dir(folder)
    assert json.loads((folder / "alphabet.json").read_text())["labels"] == ["", " ", "a", "b", "c", UNK_TOKEN]
    names = sorted(path.name for path in (folder / "language_model").iterdir())
    assert names == ["attrs.json", "tiny.arpa", "unigrams.txt"]
    again = BeamSearchDecoderCTC.load_from_dir(folder)
    assert again.decode_beams(logits) == decoder.decode_beams(logits)
    again.save_to_dir(folder)
    for path in (folder / "alphabet.json", folder / "language_model" / "attrs.json"):
        path.write_text(path.read_text(), encoding="utf-8-sig")
    (folder / "language_model" / "unigrams.txt").write_bytes(b"\xef\xbb\xbfa\r\nb\r\n")
    marked = BeamSearchDecoderCTC.load_from_dir(folder)
    assert marked.model_container[marked._model_key].unigrams == {"a", "b"}
    (folder / "language_model" / "attrs.json").write_text('{"alpha": 0.5, "gamma": 1}')
    with pytest.raises(DecodingError, match=r"attrs\.json holds \['alpha', 'gamma'\]; expected"):
        BeamSearchDecoderCTC.load_from_dir(folder)
    (folder / "language_model" / "tiny.arpa").unlink()
    with pytest.raises(DecodingError, match="and one model"):
        BeamSearchDecoderCTC.load_from_dir(folder)
    with pytest.raises(DecodingError, match=r"has no alphabet\.json"):
        BeamSearchDecoderCTC.load_from_dir(tmp_path)
    build_ctcdecoder(LABELS).save_to_dir(tmp_path / "plain")
    assert BeamSearchDecoderCTC.load_from_dir(tmp_path / "plain").decode(logits)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (np.zeros((3, 4)), r"shape \(3, 4\); expected \(frames, 6 labels\)"),
        (np.zeros(6), r"shape \(6,\)"),
        (np.full((3, 6), np.nan), "nan"),
        (np.full((3, 6), np.inf), "nan"),
        ([[0.5], [0.5, 0.5]], "list, which is no array"),
        ([["a"] * 6], "dtype <U1; expected real numbers"),
        (np.zeros((3, 6), complex), "dtype complex128"),
    ],
)
def test_logits_that_do_not_fit_are_refused(logits, message):
    with pytest.raises(ValueError, match=message):
        build_ctcdecoder(LABELS).decode(logits)


def test_what_cannot_be_meant_is_refused(arpa, tmp_path):
    (tmp_path / "alphabet.json").write_bytes(b"\xff")
    with pytest.raises(DecodingError, match=r"alphabet\.json cannot be read"):
        BeamSearchDecoderCTC.load_from_dir(tmp_path)
    with pytest.raises(ValueError, match="more than once"):
        build_ctcdecoder(["a", "a", " "])
    with pytest.raises(DecodingError, match="is_bpe is 'no'; expected true or false"):
        Alphabet.loads('{"labels": ["", "a"], "is_bpe": "no"}')
    with pytest.raises(DecodingError, match="list of logits is None"):
        build_ctcdecoder(LABELS).decode_batch(None, None)
    with pytest.raises(DecodingError, match="no blank"):
        BeamSearchDecoderCTC(Alphabet(["a", " "], False))
    with pytest.raises(DecodingError, match="one string"):
        build_ctcdecoder(LABELS, arpa).decode(logits_of(1), hotwords="ab")
    with pytest.raises(DecodingError, match="the hotwords hold None"):
        build_ctcdecoder(LABELS, arpa).decode(logits_of(1), hotwords=["ab", None])  # type: ignore[list-item]
    for decode in (build_ctcdecoder(LABELS, arpa).decode, build_ctcdecoder(LABELS).decode_beams):
        with pytest.raises(DecodingError, match="lm_start_state is 'ab'"):
            decode(logits_of(1), lm_start_state="ab")
    with pytest.raises(DecodingError, match="expected a LanguageModel"):
        BeamSearchDecoderCTC(Alphabet.build_alphabet(LABELS), object())
    with pytest.raises(DecodingError, match="No such file"):
        build_ctcdecoder(LABELS, "nowhere.arpa")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "labels are None"),
        (["a", 3], r"labels are \['a', 3\]; expected a list of strings"),
        (["▁a", " ", "b"], "' ' has a space"),
        (["\ud800", " "], "half a character"),
    ],
)
def test_labels_that_are_none_are_refused(labels, message):
    with pytest.raises(DecodingError, match=message):
        build_ctcdecoder(labels)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": "much"}, "alpha is 'much'; expected a number"),
        ({"unk_score_offset": 5}, "unk_score_offset is 5; expected a finite number, at most 0"),
        ({"unk_score_offset": -math.inf}, "unk_score_offset is -inf"),
        ({"unigrams": "ab"}, "unigrams are one string"),
        ({"unigrams": ["a", None]}, "unigrams hold None"),
    ],
)
def test_a_weight_out_of_range_is_called_by_its_name(arpa, changes, message):
    with pytest.raises(DecodingError, match=message):
        build_ctcdecoder(LABELS, arpa, **changes).decode(logits_of(1))
    with pytest.raises(DecodingError, match="token_min_logp is None; expected a number"):
        build_ctcdecoder(LABELS, arpa).decode(logits_of(1), token_min_logp=None)


def test_what_the_hub_refuses_is_said_in_a_line(tmp_path):
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    with pytest.raises(DecodingError, match=r"cannot fetch .*for a folder, use load_from_dir"):
        BeamSearchDecoderCTC.load_from_hf_hub(str(tmp_path))


def test_another_letter_case_is_warned_of(arpa, caplog):
    build_ctcdecoder(["<pad>", "|", *"ABCDEFGHIJ"], arpa)
    assert "don't seem to agree" in caplog.text
    caplog.clear()
    build_ctcdecoder(["<pad>", "|", *"abc"], arpa)
    assert not caplog.text


def test_the_example_of_the_docs_runs(arpa, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arpa.rename("lm.arpa")
    docs = Path(__file__).parents[2] / "docs" / "coming-from.md"
    example, installing = re.findall(r"```python\n(.*?)```", docs.read_text(encoding="utf-8"), re.DOTALL)
    labels = ["<pad>", "|", *"abcdefghijklmnopqrstuvwxyz"]
    names = {"labels": labels, "logits": np.random.default_rng(0).normal(size=(20, len(labels)))}
    exec(example, names)
    assert isinstance(names["text"], str)
    assert "pyctcdecode.install()" in installing


def test_install_takes_the_place_of_pyctcdecode_once():
    code = """
import importlib.util
from asr.decoder import pyctcdecode as own
own.install()
own.install()
import pyctcdecode, kenlm
from pyctcdecode import BeamSearchDecoderCTC, build_ctcdecoder
from pyctcdecode.alphabet import BLANK_TOKEN_PTN, UNK_TOKEN, UNK_TOKEN_PTN, verify_alphabet_coverage
from pyctcdecode.constants import DEFAULT_ALPHA, DEFAULT_BEAM_WIDTH, DEFAULT_HOTWORD_WEIGHT, DEFAULT_PRUNE_LOGP
from pyctcdecode.language_model import LanguageModel
assert BeamSearchDecoderCTC is own.BeamSearchDecoderCTC
assert importlib.util.find_spec("pyctcdecode") and importlib.util.find_spec("kenlm")
print("done")
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "done\n"


def test_install_does_not_replace_the_real_one(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyctcdecode", types.ModuleType("pyctcdecode"))
    with pytest.raises(UsageError, match="is loaded already"):
        pyctcdecode.install()


def test_transformers_processor_runs_on_it(arpa, tmp_path):
    pytest.importorskip("transformers", reason="transformers is not installed")
    code = f"""
import warnings
warnings.simplefilter("ignore")
from asr.decoder import pyctcdecode
pyctcdecode.install()
import json, pathlib
import numpy as np
from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ProcessorWithLM
labels = {LABELS!r}
folder = pathlib.Path({str(tmp_path)!r})
(folder / "vocab.json").write_text(json.dumps({{label: i for i, label in enumerate(labels)}}))
tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"), bos_token=None, eos_token=None)
labels += [token for token, i in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])][len(labels):]
decoder = pyctcdecode.build_ctcdecoder(labels, {str(arpa)!r})
processor = Wav2Vec2ProcessorWithLM(Wav2Vec2FeatureExtractor(), tokenizer, decoder)
logits = np.random.default_rng(0).normal(size=(2, 9, len(labels))) * 3
one = processor.decode(logits[0], output_word_offsets=True, n_best=3, hotwords=["ab"])
assert len(one.text) == len(one.word_offsets) == 3, one
many = processor.batch_decode(logits, output_word_offsets=True, num_processes=1)
assert many.text[0] == processor.decode(logits[0]).text
processor.save_pretrained(folder / "saved")
again = Wav2Vec2ProcessorWithLM.from_pretrained(folder / "saved", alpha=0.5)
assert again.decode(logits[0]).text == many.text[0]
print("done")
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout.endswith("done\n"), ran.stderr
