"""What is exported is the model: the same log-probabilities, by our program and by the code in its description."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile

torch = pytest.importorskip("torch", reason="making a bundle needs the [train] extra")
onnx = pytest.importorskip("onnx", reason="exporting needs the [train] extra")

from asr.bundle.bundle import Bundle  # noqa: E402
from asr.bundle.card import model_card  # noqa: E402
from asr.bundle.export import write_bundle  # noqa: E402
from asr.bundle.publish import ONNX_FILES, export_huggingface, export_onnx  # noqa: E402
from asr.bundle.runtime import TorchRuntime, make_runtime  # noqa: E402
from asr.errors import MissingExtraError, ModelError, UsageError  # noqa: E402
from asr.features import LogMelConfig, mel_filterbank  # noqa: E402
from asr.files import read_text, write_text  # noqa: E402
from asr.model import AcousticModel  # noqa: E402
from asr.model_config import ModelConfig  # noqa: E402
from asr.tokenizer import CharTokenizer, SentencePieceTokenizer  # noqa: E402

ROOT = Path(__file__).parent.parent.parent
TOKENIZER = CharTokenizer.from_texts(["one two"])
SUBWORDS = SentencePieceTokenizer(["<blank>", "▁", *"enotw"], [0.0, -2.0, -3.0, -3.0, -3.0, -3.0, -3.0])
RESULT = {
    "split": "test", "decoder": "beam 100, own LM", "wer": 6.079, "low": 4.2, "high": 8.3, "cer": 2.96,
    "utterances": 130, "words": 773,
}  # fmt: skip


def make_bundle(directory, normalisation="utterance", cell="lstm", tokenizer=TOKENIZER):
    torch.manual_seed(1)
    features = LogMelConfig(n_mels=12, sample_rate=8000)
    config = ModelConfig(cell, num_layers=2, hidden_size=16, conv_channels=3, normalisation=normalisation)
    model = AcousticModel(config, 12, len(tokenizer)).eval()
    model.set_statistics(torch.linspace(-6, -4, 12), torch.linspace(1, 2, 12))
    bundle = Bundle(directory, "tiny", "for tests", features, mel_filterbank(features), config, tokenizer)
    return write_bundle(bundle, model, model_card(bundle), directory)


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "bundle")


def utterances():
    return [np.random.default_rng(1).standard_normal((length, 12), dtype=np.float32) for length in (40, 3, 71)]


def assert_equal(runtimes):
    expected, got = (runtime(utterances()) for runtime in runtimes)
    for x, y in zip(expected, got, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("precision", [None, "float32", "int8"])
def test_a_huggingface_folder_is_the_bundle(bundle, tmp_path, precision):
    write_text(bundle.directory / "lm.arpa.gz", "a language model")
    (bundle.directory / "model.int8.onnx").rename(tmp_path / "model.int8.onnx")
    bundle = replace(bundle, results=[RESULT], decoding={"alpha": 0.5})
    export_huggingface(bundle, tmp_path / "out", precision)
    copy = Bundle.load(tmp_path / "out")
    assert copy.precisions == (("float32", "int8") if precision == "int8" else ("float32",))
    assert (copy.results, copy.decoding, copy.weights_sha256) == ([RESULT], {"alpha": 0.5}, bundle.weights_sha256)
    assert read_text(tmp_path / "out" / "lm.arpa.gz") == "a language model"
    assert_equal([make_runtime(bundle), make_runtime(copy)])
    assert_equal([TorchRuntime(bundle, "cpu"), TorchRuntime(copy, "cpu")])
    if precision == "int8":
        # Made again of the weights, the graph is the one that was there.
        (tmp_path / "model.int8.onnx").rename(bundle.directory / "model.int8.onnx")
        assert_equal([make_runtime(bundle, precision="int8"), make_runtime(copy, precision="int8")])


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_an_onnx_file_gives_the_same_log_probs(bundle, tmp_path, precision):
    export_onnx(bundle, tmp_path / "out", precision)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(ONNX_FILES)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", options, ["CPUExecutionProvider"])
    runtime = make_runtime(bundle, precision=precision)
    for x in utterances():
        log_probs, lengths = session.run(None, {"features": x[None], "lengths": np.array([len(x)])})
        np.testing.assert_array_equal(log_probs[0], runtime([x])[0])
        assert lengths.tolist() == [len(log_probs[0])]
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["weights_sha256"] == bundle.weights_sha256
    assert metadata["precision"] == precision


@pytest.mark.parametrize(
    ("normalisation", "precision", "tokenizer"),
    [("utterance", "float32", TOKENIZER), ("global", "int8", TOKENIZER), ("none", "float32", SUBWORDS)],
)
def test_the_code_in_the_description_gives_our_text(tmp_path, normalisation, precision, tokenizer):
    bundle = make_bundle(tmp_path / "bundle", normalisation, tokenizer=tokenizer)
    export_onnx(bundle, tmp_path / "out", precision)
    samples = 0.1 * np.random.default_rng(1).standard_normal(9_937).astype(np.float32)
    soundfile.write(tmp_path / "out" / "recording.wav", samples, 8000, subtype="FLOAT")
    (code,) = re.findall(r"```python\n(.*?)```", (tmp_path / "out" / "README.md").read_text(), flags=re.DOTALL)
    code += "np.save('log_probs.npy', log_probs)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "out", capture_output=True, text=True, check=True)
    expected = make_runtime(bundle, precision=precision)([bundle.front_end.log_mel(samples)])[0]
    np.testing.assert_allclose(
        np.load(tmp_path / "out" / "log_probs.npy"), expected, atol=1e-3 if precision == "float32" else 2e-2
    )
    best = expected.argmax(axis=1)
    text = tokenizer.decode(i for i, before in zip(best, [0, *best], strict=False) if i != before)
    assert ran.stdout == f"{text}\n"


@pytest.mark.parametrize("export", [export_onnx, export_huggingface])
def test_what_is_there_is_not_lost(bundle, tmp_path, export, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    export(bundle, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(UsageError, match=r"holds a model already.*--force"):
        export(bundle, out)
    with monkeypatch.context() as patch:
        patch.setattr("asr.bundle.publish.write_text", fail)
        with pytest.raises(OSError, match="disk full"):
            export(bundle, out, force=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "out"]
    export(bundle, out, "int8", force=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} != before or export is export_huggingface
    (out / "thesis.tex").touch()
    for force in (False, True):
        with pytest.raises(UsageError, match=r"'thesis.tex', which is not part of an export"):
            export(bundle, out, force=force)
    with pytest.raises(UsageError, match="is a file"):
        export(bundle, out / "thesis.tex", force=True)


def fail(*_):
    raise OSError("disk full")


def test_subwords_travel_with_the_model(tmp_path):
    bundle = make_bundle(tmp_path / "bundle", tokenizer=SUBWORDS)
    export_huggingface(bundle, tmp_path / "out")
    copy = Bundle.load(tmp_path / "out").tokenizer
    assert (copy.kind, copy.tokens) == (SUBWORDS.kind, SUBWORDS.tokens)
    assert copy.encode("one two") == SUBWORDS.encode("one two")


def test_a_bundle_gets_its_int8_graph_in_place(bundle):
    expected = make_runtime(bundle, precision="int8")(utterances())
    (bundle.directory / "model.int8.onnx").unlink()
    export_huggingface(bundle, bundle.directory, "int8", force=True)
    for x, y in zip(expected, make_runtime(Bundle.load(bundle.directory), precision="int8")(utterances()), strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_tuned_bundle_keeps_its_trials_in_place(bundle):
    write_text(bundle.directory / "tuning.json", "trials")
    export_huggingface(bundle, bundle.directory, "int8", force=True)
    assert (bundle.directory / "tuning.json").read_text() == "trials"


def test_an_onnx_export_does_not_replace_the_model_it_is_made_of(bundle, tmp_path):
    (tmp_path / "link").symlink_to(bundle.directory)
    before = {path.name: path.read_bytes() for path in bundle.directory.iterdir()}
    for folder in (bundle.directory, tmp_path / "link"):
        with pytest.raises(UsageError, match="the model's own folder"):
            export_onnx(bundle, folder, force=True)
    assert {path.name: path.read_bytes() for path in bundle.directory.iterdir()} == before


def test_what_cannot_be_exported_is_refused_before_anything_is_written(bundle, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="int8 is for LSTMs"):
        export_onnx(make_bundle(tmp_path / "gru", cell="gru"), out, "int8")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnx", None)
        for module in ("export", "graph", "quantise"):
            patch.delitem(sys.modules, f"asr.bundle.{module}", raising=False)
        with pytest.raises(MissingExtraError, match=r"needs onnx.*ctc-asr\[train\]"):
            export_onnx(bundle, out)
    weights = bundle.directory / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    for export in (export_onnx, export_huggingface):
        with pytest.raises(ModelError, match=r"model\.safetensors"):
            export(bundle, out)
    assert not out.exists()


def test_exporting_needs_no_torch(bundle, tmp_path):
    code = f"""
import sys
from pathlib import Path
sys.modules["torch"] = None
from asr.bundle.publish import export_huggingface, export_onnx
from asr.bundle.bundle import Bundle
bundle = Bundle.load({str(bundle.directory)!r})
export_onnx(bundle, Path({str(tmp_path / "onnx")!r}), "int8")
export_huggingface(bundle, Path({str(tmp_path / "hub")!r}), "int8")
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True)


def test_a_card_is_what_the_hub_reads(bundle):
    hub = pytest.importorskip("huggingface_hub", reason="reads the card as the Hub does")
    awkward = replace(
        bundle, name="no: \"tiny\" {model} 'ü' #1", language="no", licence="cc-by-4.0", results=[RESULT, RESULT]
    )
    data = hub.ModelCard(model_card(awkward)).data
    assert (data.language, data.license, data.datasets, data.pipeline_tag) == (
        "no", "cc-by-4.0", ["unknown"], "automatic-speech-recognition",
    )  # fmt: skip
    assert data.model_name == awkward.name
    measured = {(result.metric_type, result.dataset_split, result.metric_value) for result in data.eval_results}
    assert measured == {("wer", "test", 6.08), ("cer", "test", 2.96)}
    assert hub.ModelCard(model_card(bundle)).data.eval_results is None
