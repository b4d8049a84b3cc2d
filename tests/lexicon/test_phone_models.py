"""Models of phones, from recipe to words."""

import importlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from asr.bundle.bundle import Bundle
from asr.errors import DataError, UsageError
from asr.recipe.recipe import Run
from asr.recipe.stages import prepare
from asr.recipe.tokens import load_tokenizer, targets_digest, tokenizer
from asr.settings import override

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


def digits(folder, *changes, lexicon="lexicon.txt", out="exp") -> Run:
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
    (folder / "short.txt").write_text("".join(line for line in DIGITS.splitlines(True) if not line.startswith("nine")))
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
    after = load_tokenizer(more)
    assert "fees" in after.lexicon
    assert targets_digest(before, ["one two"]) == targets_digest(after, ["one two"])
    (folder / "other.txt").write_text(DIGITS.replace("zero(2)", "zeroes").replace("N AY N", "N AY AY N"))
    with pytest.raises(UsageError, match="began with other tokens"):
        tokenizer(replace(run, recipe=digits(folder, lexicon="other.txt").recipe))
    assert "fees" in load_tokenizer(more).lexicon


def test_a_model_of_phones_is_trained(folder):
    pytest.importorskip("torch", reason="training needs the [train] extra")
    changed = [
        part for setting in (*SMALL, f"tokenizer.lexicon={folder / 'lexicon.txt'}") for part in ("--set", setting)
    ]
    arguments = [
        "--data",
        folder / "data",
        "--out",
        folder / "exp",
        "--stage",
        "tokenizer",
        "--stage",
        "train",
        *changed,
    ]
    ran = subprocess.run(
        [sys.executable, "recipes/digits.py", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert "WER is the error rate of phones" in ran.stderr
    bundle = Bundle.load(folder / "exp" / "bundle")
    assert bundle.tokenizer.kind == "phones"
    assert list(bundle.tokenizer.lexicon.entries()) == list(load_tokenizer(digits(folder)).lexicon.entries())
