"""Models of phones, from recipe to words."""

import importlib
import itertools
import math
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asr.bundle.bundle import Bundle
from asr.bundle.runtime import OnnxRuntime
from asr.decoder import Lexicon
from asr.decoder.ngram import estimate
from asr.errors import DataError, UsageError
from asr.evaluation.tune_lexicon import weigh
from asr.files import read_text, write_text
from asr.lexicon import G2P, Pronunciation, read_lexicon
from asr.recipe.checks import check_machine
from asr.recipe.language_model import lm
from asr.recipe.recipe import Run
from asr.recipe.stages import prepare
from asr.recipe.tokens import load_tokenizer, targets_digest, tokenizer
from asr.recipe.training import words_to_recognise
from asr.settings import override
from asr.store.store import FeatureStore
from asr.tokenizer import PhoneTokenizer
from asr.transcription.aligning import align_words
from asr.transcription.decoding import DecodingOptions, make_decoder, with_hotwords
from asr.transcription.pronouncing import own_lexicon, pronounced
from asr.transcription.transcribe import load

ROOT = Path(__file__).parent.parent.parent
DIGITS = """\
zero Z IH R OW
zero(2) Z IY R OW
oh OW
one W AH N
two T UW
three TH R IY
four F AO R
five F AY V
six S IH K S
seven S EH V AH N
eight EY T
nine N AY N
"""
WITHOUT_NINE = DIGITS.replace("nine N AY N\n", "")
SMALL = (
    "tokenizer.kind=phones",
    "training.epochs=1",
    "training.augment.noise_utterances=0",
    "model.num_layers=1",
    "model.hidden_size=16",
    "model.conv_channels=4",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Stores of the digits, and a lexicon of them."""
    pytest.importorskip("pyarrow", reason="preparation needs the [data] extra")
    folder = tmp_path_factory.mktemp("phones")
    (folder / "lexicon.txt").write_text(DIGITS)
    prepare(digits(folder))
    return folder


def digits(folder: Path, *changes: str, lexicon: str = "lexicon.txt", out: str = "exp") -> Run:
    recipe = importlib.import_module("recipes.digits").RECIPE
    changed = override(recipe, (*SMALL, f"tokenizer.lexicon={folder / lexicon}", *changes))
    return Run(changed, folder / "data", folder / out, jobs=1)


def test_the_stage_makes_the_tokens_of_the_lexicon(folder):
    tokenizer(digits(folder, out="plain"))
    made = load_tokenizer(digits(folder, out="plain"))
    assert len(made) == 2 + 19
    assert made.decode(made.encode("zero two")) == "Z IH R OW T UW"
    tokenizer(digits(folder, "tokenizer.word_boundary=False", out="joined"))
    assert len(load_tokenizer(digits(folder, "tokenizer.word_boundary=False", out="joined"))) == 1 + 19


def test_words_that_the_lexicon_lacks_are_counted_before_training(folder):
    (folder / "short.txt").write_text(WITHOUT_NINE)
    with pytest.raises(DataError, match=r"1 words of train:\n  'nine' 295 times, as in .*\nand of 1 words of dev:\n"):
        tokenizer(digits(folder, lexicon="short.txt", out="short"))
    assert not (folder / "short" / "tokenizer").exists()


@pytest.mark.parametrize(
    "changes", [("tokenizer.kind=characters",), ("tokenizer.lexicon=",), ("tokenizer.vocab_size=40",)]
)
def test_settings_that_contradict_each_other(folder, changes):
    with pytest.raises(UsageError, match="tokenizer: got kind"):
        digits(folder, *changes)


def test_more_words_leave_what_was_trained_as_it_is(folder):
    run = digits(folder, out="more")
    tokenizer(run)
    (run.out / "settings.json").write_text("{}")
    before = load_tokenizer(run)
    (folder / "more.txt").write_text(DIGITS + "fees F IY Z\n")
    more = replace(run, recipe=digits(folder, lexicon="more.txt").recipe)
    tokenizer(more)
    after: Any = load_tokenizer(more)
    assert "fees" in after.lexicon
    assert targets_digest(before, ["one two"]) == targets_digest(after, ["one two"])
    (folder / "other.txt").write_text(DIGITS.replace("zero(2)", "zeroes").replace("N AY N", "N AY AY N"))
    with pytest.raises(UsageError, match="began with other tokens"):
        tokenizer(replace(run, recipe=digits(folder, lexicon="other.txt").recipe))
    after = load_tokenizer(more)
    assert "fees" in after.lexicon


def asr(*arguments, status=0):
    ran = subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == status, ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stdout, ran.stderr


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Any:
    """A small model, from recipe to table, whose lexicon lacks a word that is guessed."""
    pytest.importorskip("torch", reason="training needs the [train] extra")
    (folder / "short.txt").write_text(WITHOUT_NINE)
    G2P.train(read_lexicon(folder / "lexicon.txt"), order=4).write(folder / "g2p.npz")
    changes = (
        f"tokenizer.lexicon={folder / 'short.txt'}", f"tokenizer.g2p={folder / 'g2p.npz'}", "training.epochs=4",
        "model.hidden_size=64", "model.conv_channels=32", "lm.order=2", "lm.beam_size=8", "lm.tune_utterances=20",
    )  # fmt: skip
    changed = [part for setting in (*SMALL, *changes) for part in ("--set", setting)]
    recipe = ("recipes/digits.py", "--data", folder / "data", "--out", folder / "exp", *changed)
    out, err = asr(*recipe)
    assert "WER is the error rate of phones" in err
    assert "guessed the phones of 1 words of the transcripts that the lexicon lacks: nine" in err
    assert "test, beam 8, no LM: %WER" in out
    assert "test, beam 8, own LM: %WER" in out
    written = {path: path.stat().st_mtime_ns for path in (folder / "exp").rglob("*") if path.is_file()}
    asr(*recipe)
    assert written == {path: path.stat().st_mtime_ns for path in written}
    return Bundle.load(folder / "exp" / "bundle")


def test_a_bundle_holds_what_words_need(bundle):
    assert bundle.tokenizer.kind == "phones"
    assert bundle.tokenizer.lexicon.preferred("nine") == ("N", "AY", "N")
    assert {"lexicon.txt.gz", "g2p.npz"} <= {path.name for path in bundle.files}
    rates = {(row["split"], row["decoder"]): row["wer"] for row in bundle.results}
    assert rates["test", "beam 8, own LM"] < 60
    assert "phones" in asr("-m", "asr", "info", bundle.directory)[0]


def test_a_bundle_is_not_told_what_only_the_dev_sets_say(folder):
    (folder / "short.txt").write_text(WITHOUT_NINE)
    heard = read_lexicon(folder / "lexicon.txt").with_entries([("noon", ("N", "AY", "N"))])
    told = words_to_recognise(digits(folder, lexicon="short.txt"), PhoneTokenizer.from_lexicon(heard))
    assert set(heard) - set(told) == {"noon"}
    assert "nine" in told


def test_fine_tuning_keeps_tokens_guesses_new_words_and_may_keep_the_language_model(folder, tmp_path, bundle, capsys):
    origin = tmp_path / "origin"
    shutil.copytree(bundle.directory, origin)
    known = read_text(origin / "lexicon.txt.gz")
    write_text(origin / "lexicon.txt.gz", "".join(line for line in known.splitlines(True) if line[:4] != "nine"))
    changes = (
        *(change for change in SMALL if not change.startswith("tokenizer.")), f"init={origin}", "tokenizer.kind=init",
        "model.hidden_size=64", "model.conv_channels=32", "lm.order=0",
    )  # fmt: skip
    recipe = importlib.import_module("recipes.digits").RECIPE
    run = Run(override(recipe, (*changes, "lm.file=init")), folder / "data", tmp_path / "exp", jobs=1)
    tokenizer(run)
    made: Any = load_tokenizer(run)
    assert made.tokens == bundle.tokenizer.tokens
    assert made.lexicon.preferred("nine") == ("N", "AY", "N")
    assert "guessed the phones of 1 words of the transcripts that the lexicon lacks: nine\n" in capsys.readouterr().err
    assert run.g2p == origin / "g2p.npz"
    assert set(words_to_recognise(run, made)) == set(bundle.tokenizer.lexicon)
    lm(run)
    assert (run.out / "lm.bin").read_bytes() == (origin / "lm.bin").read_bytes()
    (origin / "lm.bin").unlink()
    with pytest.raises(UsageError, match=r"lm.file=init: no such file; expected .* or init, if training starts from"):
        check_machine(replace(run, out=tmp_path / "other"))


def test_words_come_by_search_and_phones_by_greedy_decoding(bundle):
    example = ROOT / "data_prep" / "digits" / "example.wav"
    spoken = load(bundle).transcribe(example)
    assert spoken.text
    assert {word.text for word in spoken.words} <= set(bundle.tokenizer.lexicon)
    phones = load(bundle, beam_size=1).transcribe(example)
    assert {word.text for word in phones.words} <= set(bundle.tokenizer.phones)


def test_words_that_the_lexicon_lacks_are_spelled_and_marked_if_asked_for(tmp_path, bundle):
    (tmp_path / "own.txt").write_text("zero\none\n")
    example = ROOT / "data_prep" / "digits" / "example.wav"
    only = {"lexicon": str(tmp_path / "own.txt"), "lm": None}
    assert {word.text for word in load(bundle, **only).transcribe(example).words} <= {"zero", "one"}
    spelled = [word.text for word in load(bundle, **only, unlisted="spell").transcribe(example).words]
    marked = [text for text in spelled if text not in ("zero", "one")]
    assert marked
    assert all(
        text[0] + text[-1] == "<>" and set(text[1:-1].split("-")) <= set(bundle.tokenizer.phones) for text in marked
    )
    with pytest.raises(UsageError, match="model an4 has no lexicon"):
        make_decoder(Bundle.load("an4"), DecodingOptions(unlisted="spell"))


def test_words_of_a_language_model_that_the_lexicon_lacks_are_told(tmp_path, bundle, caplog):
    with pytest.warns(UserWarning, match="too small"):
        lm = estimate(["one two noughts", "two three fourteen", "one one"] * 9, 2)
    lm.write_binary(tmp_path / "lm.bin")
    for _ in range(2):
        make_decoder(bundle, DecodingOptions(lm=tmp_path / "lm.bin"))
    told = [record.message for record in caplog.records]
    assert told == [
        "asr: 2 of the language model's 5 words are not in the lexicon and cannot be recognised: noughts, fourteen"
    ]


def test_words_that_the_bundle_lacks_are_pronounced_by_its_model(tmp_path, bundle):
    assert [entry.phones for entry in pronounced(bundle, ["zero"])] == [("Z", "IH", "R", "OW"), ("Z", "IY", "R", "OW")]
    assert pronounced(bundle, ["vetno"])[0] == pronounced(bundle, ["zero", "vetno"])[2]
    decoder: Any = make_decoder(bundle, DecodingOptions(hotwords=["Vetno five"]))
    plain = make_decoder(bundle, DecodingOptions(beam_size=8))
    values = np.random.default_rng(1).standard_normal((3, 80, len(bundle.tokenizer))).astype(np.float32) * 3
    for log_probs in values - np.log(np.exp(values).sum(axis=2, keepdims=True)):
        for hotwords in (["Vetno five"], ["two"], ()):
            options = DecodingOptions(beam_size=8, hotwords=hotwords)
            shared = with_hotwords(bundle, plain, options)
            assert shared(log_probs) == make_decoder(bundle, options)(log_probs)
    decoder.add_words(Lexicon.from_entries(pronounced(bundle, ["fithen"])))
    with pytest.raises(UsageError, match=r"'łan' is pronounced: 'ł'"):
        make_decoder(bundle, DecodingOptions(hotwords=["łan"]))
    (tmp_path / "own.txt").write_text("zero\nvetno\nnoughts\tN OW T S\n")
    (tmp_path / "wrong.txt").write_text("zero\tZ UH R OW\n")
    with pytest.raises(UsageError, match=r"phones that model digits lacks: 'UH' \(in 'zero'\)"):
        own_lexicon(bundle, path=str(tmp_path / "wrong.txt"))
    own = own_lexicon(bundle, path=str(tmp_path / "own.txt"))
    assert set(own) == {"zero", "vetno", "noughts"}
    without = replace(bundle, directory=tmp_path)
    with pytest.raises(UsageError, match=r"no pronunciation of 'vetno', and no g2p.npz"):
        pronounced(without, ["zero", "vetno"])


def test_words_are_aligned_by_the_pronunciation_that_fits(folder, bundle):
    store = FeatureStore.open(folder / "data" / "dev")
    index = next(i for i, text in enumerate(store.texts) if "zero" in text and len(text.split()) > 3)
    (log_probs,) = OnnxRuntime(bundle)([bundle.front_end.stored(store, index)])
    words = align_words(log_probs, store.texts[index], bundle.tokenizer, 0.02)
    assert [word.text for word in words] == store.texts[index].split()
    assert all(a.end_seconds <= b.start_seconds for a, b in itertools.pairwise(words))
    assert all(0 <= word.confidence <= 1 for word in words)


def test_preferred_pronunciations_become_weights(folder, bundle):
    out = folder / "weighed.txt"
    _, err = asr("-m", "asr", "lexicon", "prefer", folder / "data" / "dev", "--model", bundle.directory, "--out", out)
    assert "words have another preferred pronunciation" in err
    weighed = read_lexicon(out)
    assert sorted(said.log_weight for said in weighed["zero"])[-1] == 0.0
    assert weighed.is_weighted
    counts = Counter({("zero", ("Z", "IY", "R", "OW")): 3, ("zero", ("Z", "IH", "R", "OW")): 1})
    again = weigh(bundle.tokenizer.lexicon, counts)
    assert again["zero"] == (
        Pronunciation(("Z", "IY", "R", "OW"), 0.0),
        Pronunciation(("Z", "IH", "R", "OW"), math.log(2 / 4)),
    )
    assert again["oh"] == bundle.tokenizer.lexicon["oh"]
