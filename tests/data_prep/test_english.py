"""The sets of general English: what is held out, what that forbids, and the text of language models."""

import gzip
import hashlib
import importlib.util
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from asr.errors import DataError
from asr.preparation.command import load_corpus
from asr.preparation.corpus import RawUtterance
from asr.preparation.options import PrepareOptions
from asr.preparation.overlap import read_runs, runs, runs_of, shares_a_run
from asr.preparation.parsing import held_out
from asr.preparation.prepare import prepare

SCRIPTS = Path(__file__).parents[2] / "data_prep"
DEV_SPEAKER, TRAIN_SPEAKER = "5789", "1088"
LONG = "the quick brown fox jumps over the lazy dog"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def speakers_of(family: str) -> Iterator[tuple[str, bool]]:
    """Yield names, and whether the script holds them out."""
    for number in range(100):
        yield f"{number:010x}", held_out(f"{family}-{number:010x}", dev_percent=25, test_percent=0) == "dev"


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Return a folder of two sets with one dev speaker each, sentences of theirs among the others' too."""
    root = tmp_path / "speech"
    dev, train = (
        next(name for name, is_dev in speakers_of("common_voice") if is_dev is wanted) for wanted in (True, False)
    )
    tables = {
        "cv18": [("a", f"Well, {LONG}.", dev, ""), ("b", "It is said.", dev, ""), ("c", "So it goes on.", train, "")],
        "cv13": [
            ("d", "Anything of theirs", dev, ""),
            ("e", "IT IS SAID!", train, ""),
            ("f", f"he said {LONG}", train, ""),
            ("g", "all else stays", train, ""),
            ("h", "the text is wrong", train, "0.8"),
            ("i", "some test reads this one out loud today", train, "0.2"),
        ],
        "cv13_pseudo": [
            ("j", "i think it is so he", "", "0.250"),
            ("k", "well the quick brown box jumps over the lazy dog", "", "0.100"),
        ],
    }
    for name, rows in tables.items():
        (root / name / "clips").mkdir(parents=True)
        lines = ["audio\ttext\tspeaker\tdisagreement", *("\t".join((f"clips/{row[0]}.wav", *row[1:])) for row in rows)]
        (root / name / f"{name}.tsv").write_text("\n".join(lines) + "\n")
        for number, row in enumerate(rows):
            noise = np.random.default_rng(number).normal(0, 0.1, 64_000).astype(np.float32)
            soundfile.write(root / name / "clips" / f"{row[0]}.wav", noise, 16_000)
    for reader in (DEV_SPEAKER, TRAIN_SPEAKER):
        chapter = root / "LibriSpeech" / "train-clean-5" / reader / "1"
        chapter.mkdir(parents=True)
        (chapter / f"{reader}-1.trans.txt").write_text(
            f"{reader}-1-0000 READ BY {'HER' if reader == DEV_SPEAKER else 'HIM'}\n"
        )
        (chapter / f"{reader}-1-0000.flac").touch()
    (root / "exclude_8grams.txt").write_text("\n".join(runs("some test reads this one out loud today")) + "\n")
    return root


def parsed(root: Path) -> dict[str, dict[str, RawUtterance]]:
    found: dict[str, dict[str, RawUtterance]] = {}
    for utterance in load_corpus("english").parse(root):
        found.setdefault(utterance.split, {})[utterance.id] = utterance
    return found


def test_what_is_held_out_is_learned_from_nowhere(speech: Path) -> None:
    found = parsed(speech)
    assert {split: set(rows) for split, rows in found.items()} == {
        "dev": {"a", "b", f"{DEV_SPEAKER}-1-0000"},
        "dev_audiobooks": {f"{DEV_SPEAKER}-1-0000"},
        "dev_common_voice": {"a", "b"},
        "librispeech": {f"{TRAIN_SPEAKER}-1-0000"},
        "cv18": {"c"},
        "cv13": {"g"},
        "cv13_pseudo": {"j"},
    }


def test_machines_disagreement_is_kept_and_people_have_none(speech: Path) -> None:
    found = parsed(speech)
    assert found["cv13_pseudo"]["j"].disagreement == 0.25
    assert found["cv13"]["g"].disagreement == 0.0


def test_sets_that_are_not_there_are_named(speech: Path, tmp_path: Path) -> None:
    corpus = load_corpus("english")
    options = {"source": speech, "quiet": True}
    with pytest.raises(DataError, match=r"ljspeech, common_voice, .* are not in .*--allow-missing"):
        prepare(corpus, tmp_path / "data", PrepareOptions(**options))
    assert not (tmp_path / "data" / "cv18" / "store.json").exists()
    summary = prepare(corpus, tmp_path / "data", PrepareOptions(**options, splits=("cv18",)))
    assert set(summary.splits) == {"cv18"}
    (speech / "LibriSpeech").rename(tmp_path / "away")
    summary = prepare(corpus, tmp_path / "data", PrepareOptions(**options, allow_missing=True))
    assert set(summary.splits) == {"dev", "dev_common_voice", "cv18", "cv13", "cv13_pseudo"}
    assert any("the split librispeech is missing" in warning for warning in summary.warnings)


def test_runs_are_those_of_the_list() -> None:
    text = "One two three, four five six seven eight -- don't"
    expected = ["one two three four five six seven eight", "two three four five six seven eight don't"]
    assert list(runs(text)) == [hashlib.sha1(run.encode()).hexdigest()[:16] for run in expected]
    assert shares_a_run(f"and {text}", runs_of([text]))
    assert not shares_a_run("one two three four five six seven", runs_of([text]))


def test_a_list_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("0123456789abcdef\nthe cat sat\n")
    with pytest.raises(DataError, match="'the cat sat'; expected 16 hexadecimal digits"):
        read_runs(tmp_path / "list.txt")


def test_paragraphs_become_sentences() -> None:
    sentences = script("english_text").sentences
    assert sentences("“Mr. Bell paid $5,” he said. ‘Did he?’ She didn't know [1] in 1847.") == [
        "mister bell paid five dollars he said", "did he", "she didn't know in eighteen forty seven",
    ]  # fmt: skip
    assert sentences("THE END OF CHAPTER IV") == []
    assert (
        sentences("Dans un petit village de la Bretagne vivait une femme qui avait trois enfants et rien pour manger")
        == []
    )
    assert sentences("It is. Что это? It was.") == ["it is", "it was"]


def test_texts_that_are_judged_by_are_left_out_whole_and_copies_count_once() -> None:
    text = script("english_text")
    collect = text.Collector(runs_of([LONG]))
    book = ["It was the best of times, it was the worst of times.", "“Yes.”"]
    assert collect(text.Text("a", [*book, f"And then {LONG}."])) == []
    assert collect(text.Text("b", book)) == ["it was the best of times it was the worst of times", "yes"]
    assert collect(text.Text("c", book)) == ["yes"]
    assert collect(text.Text("d", ["I don t know what it is. "] * 9)) == []
    assert collect.counts["left out: shares eight words"] == 1
    assert collect.counts["left out: apostrophes lost"] == 1
    assert collect.counts["paragraphs again"] == 1


def test_the_vocabulary_has_what_is_said_and_what_is_written_often(tmp_path: Path) -> None:
    text = script("english_text")
    texts = Counter(
        {"the": 90, "'and": 90, "cat": text.LEAST_KNOWN, "dog": text.LEAST_KNOWN - 1, "zog": text.LEAST_UNKNOWN - 1}
    )
    text.write_vocabulary(tmp_path / "words.txt", Counter({"um": 1}), texts, {"cat", "dog"})
    assert (tmp_path / "words.txt").read_text().split() == ["cat", "the", "um"]


def test_the_check_finds_what_is_shared(speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (speech / "LibriSpeech").rename(tmp_path / "away")
    options = PrepareOptions(source=speech, quiet=True, allow_missing=True)
    prepare(load_corpus("english"), tmp_path / "data", options)
    check = script("english_check")
    text = tmp_path / "text"
    text.mkdir()
    with gzip.open(text / "good.txt.gz", "wt") as file:
        file.write("it is said\nall else stays\n")
    sys_argv = ["check", str(tmp_path / "data"), "--text", str(text), "--exclude", str(speech / "exclude_8grams.txt")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", sys_argv)
        assert check.main() == 0
        assert "shared: nothing" in capsys.readouterr().out
        with gzip.open(text / "bad.txt.gz", "wt") as file:
            file.write("the quick brown fox\njumps over the lazy dog\n")
        assert check.main() == 1
        assert "bad.txt.gz: 2 sentences, 9 words\teight words shared: 2" in capsys.readouterr().out


def test_text_is_read_from_clones(tmp_path: Path) -> None:
    text = script("english_text")
    clone = tmp_path / "dstc8-schema-guided-dialogue"
    (clone / "train").mkdir(parents=True)
    dialogue = {"dialogue_id": "1_0", "turns": [{"utterance": "A table for 2?"}, {"utterance": "Sure."}]}
    (clone / "train" / "dialogues_001.json").write_text(json.dumps([dialogue]))
    git = ["git", "-C", str(clone), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "a"]):
        subprocess.run([*git, *arguments], check=True, capture_output=True)
    (found,) = text.assistant_dialogues(tmp_path)
    assert found.paragraphs == ["A table for 2?", "Sure."]
    with pytest.raises(DataError, match="has no self_dialogue_corpus: run git clone"):
        list(text.self_dialogues(tmp_path))
