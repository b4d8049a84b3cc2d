"""Recipes: each is constructed; the embedded one runs from corpus to transcript, and again without work.

What a run depends on is told apart from what it does not: other settings, other letters, another model to start from.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from asr.bundle.bundle import LANGUAGE_MODEL, WEIGHTS, Bundle
from asr.bundle.runtime import OnnxRuntime
from asr.errors import DataError, UsageError
from asr.recipe import Recipe, seeds
from asr.recipe.checks import check_letters, check_splits
from asr.recipe.language_model import lm, tune
from asr.recipe.recipe import Run
from asr.recipe.stage_state import check_settings, write_settings
from asr.recipe.stages import prepare, run_stages
from asr.recipe.tokens import load_intermediate_tokenizer, load_tokenizer, tokenizer, transcripts
from asr.recipe.training import train
from asr.settings import override
from asr.store.layout import INDEX
from asr.store.store import FeatureStore
from asr.tokenizer import BLANK_TOKEN, TOKENS, CharTokenizer

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((ROOT / "recipes").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_every_recipe_is_constructed(script, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "recipes")
    spec = importlib.util.spec_from_file_location(f"recipe_{script.stem}", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert isinstance(module.RECIPE, Recipe)
    assert module.RECIPE.name == script.stem
    assert not module.RECIPE.corpus or (ROOT / "data_prep" / f"{module.RECIPE.corpus}.py").is_file()


def run(*arguments, status=0):
    ran = subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == status, ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stdout if status == 0 else ran.stderr


SMALL = (
    "training.epochs=1",
    "training.ranks=2",
    "training.augment.noise_utterances=0",
    "model.num_layers=1",
    "model.hidden_size=16",
    "model.conv_channels=4",
    "tokenizer.kind=unigram",
    "tokenizer.vocab_size=24",
    "lm.order=2",
    "lm.beam_size=4",
)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The outcome of a very small run of the digits recipe, subwords and language model included."""
    pytest.importorskip("torch", reason="training needs the [train] extra")
    out = tmp_path_factory.mktemp("digits")
    changed = [part for setting in SMALL for part in ("--set", setting)]
    arguments = ("recipes/digits.py", "--data", out / "data", "--out", out / "exp", "--jobs", 1, *changed)
    first = run(*arguments)
    assert "test, greedy: %WER" in first
    assert "test, beam 4, own LM: %WER" in first
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name != ".lock"}
    run(*arguments)
    assert written == {path: path.stat().st_mtime_ns for path in written}
    return out


def test_a_recipe_runs_to_its_end_and_again_without_work(out):
    bundle = out / "exp" / "bundle"
    assert "WER, test, greedy" in run("-m", "asr", "info", bundle)
    run("-m", "asr", "transcribe", "--model", bundle, "data_prep/digits/example.wav")
    (out / "words.txt").write_text("one two")
    aligned = run("-m", "asr", "align", "--model", bundle, "data_prep/digits/example.wav", out / "words.txt")
    assert [line.split("\t")[-1] for line in aligned.splitlines()] == ["one", "two"]
    shown = run("-m", "asr", "evaluate", "--model", bundle, "--data", out / "data" / "dev")
    assert shown.startswith("%WER")


def test_a_store_with_other_features_is_refused(out):
    message = run("-m", "asr", "evaluate", "--model", "an4", "--data", out / "data" / "dev", status=1)
    assert "n_mels: 40 (expected 80)" in message
    message = run(
        "recipes/digits.py", "--data", out / "data", "--out", out / "other", "--stage", "train", "--set",
        "features.n_mels=20", status=1,
    )  # fmt: skip
    assert "n_mels: 40 (expected 20)" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "training.epoch=5"], "did you mean 'epochs'"),
        (["--stage", "trian"], "did you mean 'train'"),
        (["--set", "tokenizer.kind=bpe"], "expected a size"),
        (["--set", "tokenizer.kind=init"], "no model to start from"),
        (
            ["--set", "init=an4", "--stage", "tokenizer"],
            "features.n_mels is 40, expected 80; model.cell is 'gru', expected 'lstm'",
        ),
        (["--out", "pyproject.toml/exp"], "pyproject.toml/exp: cannot be written to (Not a directory)"),
        (["--seeds", "1,1"], "two or more, each once"),
        (["--seeds", "1,2", "--set", "training.seed=3"], "leave out --stage and training.seed"),
    ],
)
def test_wrong_usage_is_explained(arguments, message):
    assert message in run("recipes/digits.py", *arguments, status=2)


def digits(out, *changes):
    """Return the run of `out`, with other settings."""
    spec = importlib.util.spec_from_file_location("digits", ROOT / "recipes" / "digits.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Run(override(module.RECIPE, (*SMALL, *changes)), out / "data", out / "exp")


def test_the_language_model_has_seen_the_training_transcripts_alone(out):
    from asr.decoder.ngram import NGramModel, estimate

    texts = FeatureStore.open(out / "data" / "train").texts
    with pytest.warns(UserWarning, match="discounts"):
        expected = estimate(texts, 2)
    shipped = NGramModel.read(out / "exp" / "bundle" / LANGUAGE_MODEL)
    assert shipped.perplexity(texts).with_oov == pytest.approx(expected.perplexity(texts).with_oov, rel=1e-5)
    tuned = {"alpha", "beta", "beam_size", "oov_score", "prior_weight", "blank_scale"}
    assert set(Bundle.load(out / "exp" / "bundle").decoding) == tuned


def test_a_language_model_made_beforehand_is_taken_as_it_is(out, tmp_path):
    from asr.decoder.ngram import NGramModel

    unigrams = "-1\t<unk>\n-99\t<s>\n-1\t</s>\n-1\tone\n"
    (tmp_path / "lm.arpa").write_text(f"\\data\\\nngram 1=4\n\n\\1-grams:\n{unigrams}\n\\end\\\n")
    run = replace(digits(out, "lm.order=0", f"lm.file={tmp_path / 'lm.arpa'}"), out=tmp_path / "exp")
    run.out.mkdir()
    lm(run)
    assert NGramModel.read(run.out / LANGUAGE_MODEL).words == ["<unk>", "<s>", "</s>", "one"]
    with pytest.raises(UsageError, match="expected no order and no cutoffs"):
        digits(out, "lm.file=lm.arpa")
    with pytest.raises(DataError, match=r"no-lm.arpa: no such language model"):
        lm(replace(digits(out, "lm.order=0", "lm.file=no-lm.arpa"), out=tmp_path / "exp"))


def test_a_language_model_that_is_asked_for_no_more_leaves_the_bundle(out, tmp_path):
    shutil.copytree(out / "exp", tmp_path / "exp")
    assert "own LM" in (tmp_path / "exp" / "bundle" / "README.md").read_text()
    tune(replace(digits(out, "lm.order=0"), out=tmp_path / "exp"))
    bundle = Bundle.load(tmp_path / "exp" / "bundle")
    assert not bundle.decoding
    assert {row["decoder"] for row in bundle.results} == {"greedy"}
    assert "own LM" not in (tmp_path / "exp" / "bundle" / "README.md").read_text()
    assert not (tmp_path / "exp" / "bundle" / LANGUAGE_MODEL).exists()


def test_words_that_never_follow_one_another_have_no_language_model(out, tmp_path, monkeypatch, capsys):
    shutil.copytree(out / "exp", tmp_path / "exp")
    run = replace(digits(out), out=tmp_path / "exp")
    monkeypatch.setattr("asr.recipe.language_model.transcripts", lambda _store, _limit: ["您好世界", "yes", "no"] * 9)
    lm(run)
    assert "left out, because hardly any transcript has two words" in capsys.readouterr().err
    tune(run)
    assert not (run.bundle / LANGUAGE_MODEL).exists()
    assert not Bundle.load(run.bundle).decoding


def test_languages_without_spaces_and_single_commands_train_to_the_end_by_several_dev_sets(tmp_path, capsys):
    pytest.importorskip("torch", reason="training needs the [train] extra")
    import soundfile

    seed = 6
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    characters, commands = list("今天气很好我们去学校吃饭"), ["on", "off", "left", "right"]
    texts = {
        "hanzi": lambda: "".join(rng.choice(characters, int(rng.integers(3, 7)))),
        "commands": lambda: str(rng.choice(commands)),
    }
    arguments = []
    for name, text in texts.items():
        for split, count in (("train", 24), ("dev", 5), ("more", 3)):
            lines = ["audio,text"]
            for number in range(count):
                path = tmp_path / f"{name}-{split}-{number}.wav"
                soundfile.write(path, 0.1 * rng.standard_normal(16000), 16000)
                lines.append(f"{path.name},{text()}")
            (tmp_path / f"{name}-{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
            arguments.append(f"{name}-{split}={tmp_path / f'{name}-{split}.csv'}")
    options = ("--profile", "words", "--features", "n_mels=40", "--jobs", 1)
    run("data_prep/manifest.py", *arguments, "--out", tmp_path / "data", *options)
    for name in texts:
        changes = ("tokenizer.kind=characters", "tokenizer.vocab_size=0", "lm.order=3", "corpus=", "test=")
        splits = (f"train={name}-train", f"dev={name}-dev,{name}-more")
        one = Run(digits(tmp_path, *changes, *splits).recipe, tmp_path / "data", tmp_path / name)
        run_stages(one)
        bundle = Bundle.load(one.bundle)
        assert "language model: left out" in capsys.readouterr().err
        assert not bundle.decoding
        assert [row["split"] for row in bundle.results] == [f"{name}-dev", f"{name}-more"]
        assert bundle.tokenizer.alphabet == set("".join(FeatureStore.open(tmp_path / "data" / f"{name}-train").texts))
        header, last = (tmp_path / name / "log.csv").read_text().splitlines()
        values = dict(zip(header.split(","), last.split(","), strict=True))
        rates = [float(values[f"dev_wer.{split}"]) for split in (f"{name}-dev", f"{name}-more")]
        assert float(values["dev_wer"]) == pytest.approx(sum(rates) / 2, rel=1e-4)


def test_dev_sets_each_once(out):
    assert digits(out, "dev=dev, test").recipe.dev_splits == ("dev", "test")
    for wrong in ("dev,,test", "dev,dev", ","):
        with pytest.raises(UsageError, match="expected splits, each once"):
            digits(out, f"dev={wrong}")
    with pytest.raises(UsageError, match=r"training.freeze names 'layers.1'; expected layers of the model: front_end"):
        digits(out, "training.freeze=front_end,layers.1")
    assert digits(out, "training.freeze=front_end,layers.0").recipe.training.freeze == ("front_end", "layers.0")


def test_the_middle_layer_has_tokens_of_its_own(out, tmp_path):
    pytest.importorskip("torch", reason="training needs the [train] extra")
    changes = ("training.intermediate_ctc=0.3", "intermediate_tokenizer.kind=characters", "training.consistency=0.2")
    run = replace(digits(out, *changes), out=tmp_path / "exp")
    tokenizer(run)
    train(run)
    assert len(load_tokenizer(run)) == 24
    middle = load_intermediate_tokenizer(run)
    assert middle.kind == "characters"
    bundle = Bundle.load(run.bundle)
    assert not any("intermediate" in name for name in bundle.weights())
    priors = np.load(run.bundle / "label_priors.npy")
    assert priors.dtype == np.float32
    assert np.exp(priors.astype(float)).sum() == pytest.approx(1, abs=1e-5)
    # The second way: the means of what the bundle's own graph gives, over all of so small a set.
    runtime, store = OnnxRuntime(bundle), run.training_store()
    rows = np.concatenate([np.exp(runtime([bundle.front_end.stored(store, i)])[0]) for i in range(len(store))])
    np.testing.assert_allclose(np.exp(priors), rows.mean(axis=0), atol=2e-3)
    with pytest.raises(UsageError, match=r"training\.intermediate_ctc is 0"):
        digits(out, "intermediate_tokenizer.kind=characters")
    with pytest.raises(UsageError, match="'same' only for the second"):
        digits(out, "tokenizer.kind=same", "tokenizer.vocab_size=0")


def test_tokens_under_trained_weights_are_not_replaced(out, tmp_path):
    shutil.copytree(out / "exp", tmp_path / "exp")
    before = (tmp_path / "exp" / "tokenizer" / TOKENS).read_bytes()
    with pytest.raises(UsageError, match="began with other tokens"):
        tokenizer(replace(digits(out, "tokenizer.kind=characters", "tokenizer.vocab_size=0"), out=tmp_path / "exp"))
    assert (tmp_path / "exp" / "tokenizer" / TOKENS).read_bytes() == before


def test_speed_perturbed_copies_are_no_more_text():
    speeds, none = SimpleNamespace(speeds=(0.9, 1.1)), SimpleNamespace(speeds=())
    zeros = np.zeros(3)
    copied = SimpleNamespace(ids=["a", "sp0.9-a", "sp1.1-a"], texts=["one"] * 3, header=speeds, disagreements=zeros)
    other = SimpleNamespace(ids=["sp0.9-a", "b"], texts=["two", "too"], header=none, disagreements=np.array([0, 0.5]))
    joined = SimpleNamespace(parts=(copied, other))
    assert transcripts(joined) == ["one", "two", "too"]
    assert transcripts(joined, max_disagreement=0.4) == ["one", "two"]


def test_training_sets_and_their_weights(out, tmp_path):
    def recipe(train):
        return replace(digits(out).recipe, train=train)

    assert recipe("train").train_weights == {"train": 1.0}
    assert recipe("a, ../b/train:0.5 ,c:2").train_weights == {"a": 1.0, "../b/train": 0.5, "c": 2.0}
    for wrong in ("", "a,,b", "a,a:2", "a:0", "a:-1", "a:nan", "a:inf", "a:much", ":2"):
        with pytest.raises(UsageError, match="expected splits, each once"):
            recipe(wrong)
    # Another folder's store, which the corpus does not make.
    shutil.copytree(out / "data" / "dev", tmp_path / "more" / "dev")
    run = replace(digits(out, f"train=train,{tmp_path / 'more' / 'dev'}:0.5"), out=tmp_path / "exp")
    prepare(run)
    joined, parts = run.training_store(), [FeatureStore.open(out / "data" / name) for name in ("train", "dev")]
    assert len(joined) == sum(map(len, parts))
    wanted = [utterance for part in parts for utterance in part]
    for index in (0, len(parts[0]) - 1, len(parts[0]), len(joined) - 1, -1):
        got = joined[index]
        assert (got.id, got.text, got.speaker) == (wanted[index].id, wanted[index].text, wanted[index].speaker)
        np.testing.assert_array_equal(got.features, wanted[index].features)
        assert (joined.ids[index], joined.texts[index]) == (got.id, got.text)
        assert joined.num_frames[index] == len(got.features)
    joined.verify()
    assert joined.identity == [part.identity for part in parts]
    shutil.rmtree(tmp_path / "more")
    with pytest.raises(DataError, match=r"has no .*more/dev; expected stores"):
        prepare(run)


def test_settings_that_a_folder_was_not_trained_with_are_named(out, tmp_path):
    before = replace(digits(out), out=tmp_path)
    write_settings(before)
    check_settings(before)
    check_settings(replace(digits(out, "lm.order=3", "test=dev", "training.device=cpu"), out=tmp_path))
    changed = replace(digits(out, "training.learning_rate=0.1", "model.dropout=0.5"), out=tmp_path)
    with pytest.raises(UsageError, match=r"dropout: 0.1 → 0.5; training.learning_rate: 0.003 → 0.1; .*--allow-changes"):
        check_settings(changed)
    check_settings(replace(changed, allow_changes=True))
    changed = replace(digits(out, "training.learning_rate=0.1", "model.cell=lstm"), out=tmp_path, allow_changes=True)
    with pytest.raises(UsageError, match=r"settings: model.cell: 'gru' → 'lstm'; .* choose another --out"):
        check_settings(changed)


def test_letters_that_the_tokens_lack_are_counted(out):
    dev = FeatureStore.open(out / "data" / "dev")
    count = sum(text.count("x") for text in dev.texts)
    first = next(name for name, text in zip(dev.ids, dev.texts, strict=True) if "x" in text)
    tokens = CharTokenizer([BLANK_TOKEN, *sorted(set().union(*map(set, dev.texts)) - {"x"})])
    with pytest.raises(DataError, match=rf"\n  'x' \(U\+0078\) {count} times in dev, as in {first}\n"):
        check_letters(tokens, [dev])
    check_letters(CharTokenizer([*tokens.tokens, "x"]), [dev])
    # What is not trained on, since machines disagree on it, may have other letters.
    pseudo: Any = SimpleNamespace(
        ids=["a", "b"], texts=["one", "\u00f8"], disagreements=np.array([0.2, 0.3], dtype=np.float32), split="train"
    )
    check_letters(tokens, [pseudo], max_disagreement=0.2)
    with pytest.raises(DataError, match=r"U\+00F8\) 1 times in train, as in b"):
        check_letters(tokens, [pseudo], max_disagreement=0.3)
    # The limit is for training alone; elsewhere, such utterances are refused if there are no others.
    complete = CharTokenizer([*tokens.tokens, "x"])
    check_letters(complete, [dev, pseudo], max_disagreement=0.2)
    alone: Any = SimpleNamespace(ids=["b"], texts=["\u00f8"], disagreements=pseudo.disagreements[1:], split="dev")
    with pytest.raises(DataError, match=r"U\+00F8\) 1 times in dev, as in b"):
        check_letters(complete, [dev, alone], max_disagreement=0.2)


def test_letters_that_dev_alone_has_cost_those_utterances(out, tmp_path, capfd):
    pytest.importorskip("torch", reason="training needs the [train] extra")
    import pyarrow as pa

    for split in ("train", "dev"):
        shutil.copytree(out / "data" / split, tmp_path / split)
    index = pa.ipc.open_file(out / "data" / "dev" / INDEX).read_all()

    def spell(texts):
        table = index.set_column(index.schema.get_field_index("text"), index.schema.field("text"), pa.array(texts))
        with pa.ipc.new_file(tmp_path / "dev" / INDEX, table.schema) as file:
            file.write_table(table)

    texts = index["text"].to_pylist()
    changes = ("tokenizer.kind=characters", "tokenizer.vocab_size=0")
    run = replace(digits(out, *changes), data=tmp_path, out=tmp_path / "exp")
    spell(["dž", *texts[1:]])
    tokenizer(run)
    train(run)
    told = capfd.readouterr().err
    assert f"left out of dev during training 1 of {len(texts)} utterances" in told
    assert f"'ž'): {index['id'][0].as_py()}; the stage evaluate counts them" in told
    spell(["ž" for _ in texts])
    with pytest.raises(DataError, match=rf"'ž' \(U\+017E\) {len(texts)} times in dev"):
        check_letters(load_tokenizer(run), [run.training_store(), run.dev_store()])


def test_a_dev_set_without_words_is_refused(out, tmp_path):
    import pyarrow as pa

    for split in ("train", "dev"):
        shutil.copytree(out / "data" / split, tmp_path / split)
    header = json.loads((tmp_path / "dev" / "store.json").read_text())
    index = pa.ipc.open_file(out / "data" / "dev" / INDEX).read_all()

    def write(table):
        (tmp_path / "dev" / "store.json").write_text(json.dumps({**header, "utterances": len(table)} | shards))
        with pa.ipc.new_file(tmp_path / "dev" / INDEX, table.schema) as file:
            file.write_table(table)

    shards = {}
    texts = pa.array([" "] * len(index), index.schema.field("text").type)
    write(index.set_column(index.schema.get_field_index("text"), index.schema.field("text"), texts))
    with pytest.raises(DataError, match="dev: no transcript has words"):
        check_splits(replace(digits(out), data=tmp_path))
    shards = {"shards": []}
    write(index.slice(0, 0))
    with pytest.raises(DataError, match=r"dev: the split has no utterance; .* best epoch by 'dev'"):
        check_splits(replace(digits(out), data=tmp_path))


def test_fine_tuning_starts_where_the_bundle_is(out):
    torch = pytest.importorskip("torch", reason="training needs the [train] extra")
    from asr.model import AcousticModel
    from asr.recipe.training import start_from

    origin = Bundle.load(out / "exp" / "bundle")
    features = FeatureStore.open(out / "data" / "dev")[0].features

    def log_probs(tokenizer):
        model = AcousticModel(origin.model, origin.features.n_mels, len(tokenizer)).eval()
        shared = start_from(origin, model, tokenizer)
        x = torch.from_numpy(features.astype(np.float32))[None]
        with torch.inference_mode():
            return shared, model(x, torch.tensor([len(features)]))[0][0].numpy()

    (expected,) = OnnxRuntime(origin)([features])
    shared, same = log_probs(origin.tokenizer)
    assert shared == len(origin.tokenizer)
    np.testing.assert_allclose(same, expected, atol=1e-4)
    # Other letters: what both know keeps its order and distances, whatever is beside it.
    letters = CharTokenizer([BLANK_TOKEN, "é", "t", "n", "e"])
    shared, other = log_probs(letters)
    known = [origin.tokenizer.tokens.index(token) for token in (BLANK_TOKEN, "t", "n", "e")]
    assert shared == 4
    kept, was = other[:, [0, 2, 3, 4]], expected[:, known]
    np.testing.assert_allclose(kept - kept[:, :1], was - was[:, :1], atol=1e-4)


def test_a_recipe_is_fine_tuned_with_the_tokens_of_its_origin(out, tmp_path):
    changed = (*SMALL[:6], "tokenizer.kind=init", f"init={out / 'exp' / 'bundle'}")
    arguments = [part for setting in changed for part in ("--set", setting)]
    run("recipes/digits.py", "--data", out / "data", "--out", tmp_path, "--stage", "tokenizer", "--stage", "train",
        *arguments)  # fmt: skip
    bundle = Bundle.load(tmp_path / "bundle")
    assert bundle.tokenizer.files() == Bundle.load(out / "exp" / "bundle").tokenizer.files()
    assert bundle.origin == "digits (data: digits; licence: cc0-1.0)"
    assert f"Fine-tuned from {bundle.origin}." in (tmp_path / "bundle" / "README.md").read_text()


def test_stores_made_beforehand_are_trained_on_and_missing_ones_named(out):
    prepare(replace(digits(out), recipe=replace(digits(out).recipe, corpus="")))
    with pytest.raises(DataError, match=r"data: has no tests; expected stores of train, dev, tests"):
        prepare(replace(digits(out), recipe=replace(digits(out).recipe, corpus="", test=("tests",))))
    with pytest.raises(DataError, match=r"with the speeds \[\]; expected the recipe's, \[0.9\]"):
        prepare(replace(digits(out), recipe=replace(digits(out).recipe, corpus="", speeds=(0.9,))))


@pytest.mark.parametrize("name", ["an4", "english"])
def test_ones_own_recordings_can_start_from_the_models_that_ship(monkeypatch, name):
    monkeypatch.syspath_prepend(ROOT / "recipes")
    own, shipped = importlib.import_module("mine").RECIPE, Bundle.load(name)
    assert own.model == replace(shipped.network, dropout=own.model.dropout)
    assert own.features == shipped.features


def test_a_bundle_that_another_run_left_is_written_anew(out, tmp_path):
    pytest.importorskip("torch", reason="training needs the [train] extra")
    shutil.copytree(out / "exp", tmp_path / "exp")
    again = replace(digits(out), out=tmp_path / "exp")
    weights = again.bundle / WEIGHTS
    expected, written = weights.read_bytes(), weights.stat().st_mtime_ns
    train(again)
    assert weights.stat().st_mtime_ns == written
    weights.write_bytes(b"of the best of several seeds")
    train(again)
    assert weights.read_bytes() == expected


def test_of_several_seeds_the_best_on_dev_is_kept(out, tmp_path, monkeypatch, capsys):
    rates = {3: 7.0, 1: 4.0, 2: 6.0}

    def run_stages(run):
        shutil.copytree(out / "exp" / "bundle", run.bundle)
        bundle = Bundle.load(run.bundle)
        seed = run.recipe.training.seed
        # What is best on test is another one.
        results = [{**row, "wer": rates[seed] if row["split"] == "dev" else 9.0 - seed} for row in bundle.results]
        (run.bundle / "config.json").write_text(replace(bundle, name=str(seed), results=results).config_json())

    monkeypatch.setattr(seeds, "run_stages", run_stages)
    seeds.run_seeds(replace(digits(out), out=tmp_path), (3, 1, 2))
    assert Bundle.load(tmp_path / "bundle").name == "1"
    found = json.loads((tmp_path / "seeds.json").read_text())
    assert found["best"] == 1
    greedy = next(row for row in found["results"] if (row["split"], row["decoder"]) == ("dev", "greedy"))
    assert greedy["seeds"] == [3, 1, 2]
    assert greedy["wer"] == [7.0, 4.0, 6.0]
    assert greedy["mean"] == pytest.approx(17 / 3)
    assert "4.00–7.00" in capsys.readouterr().out
