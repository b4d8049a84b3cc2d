"""ONNX files of other toolkits, made by hand: folders as onnx-asr and sherpa-onnx have them."""

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the files are made with onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from asr.bundle.bundle import Bundle  # noqa: E402
from asr.bundle.facts import model_facts  # noqa: E402
from asr.bundle.publish import export_huggingface  # noqa: E402
from asr.bundle.runtime import OnnxRuntime, TorchRuntime, make_runtime, open_session  # noqa: E402
from asr.cli import app  # noqa: E402
from asr.convert.convert import convert  # noqa: E402
from asr.convert.huggingface import read_front_end  # noqa: E402
from asr.decoder import BeamSearchDecoder, NGramModel  # noqa: E402
from asr.errors import AsrError, DecodingError, ModelError, UsageError  # noqa: E402
from asr.fbank import PRESETS, Fbank  # noqa: E402
from asr.live.model import LiveModel  # noqa: E402
from asr.transcription.decoding import DecodingOptions, make_decoder  # noqa: E402
from asr.transcription.transcribe import Transcriber  # noqa: E402

TINY_KENLM = Path(__file__).parent.parent / "decoder" / "ngram" / "tiny.probing.bin"
ARPA = """\\data\\
ngram 1=6
ngram 2=3

\\1-grams:
-1.5\t<unk>
-99\t<s>\t-0.3
-1\t</s>
-0.7\ta\t-0.2
-0.9\tthe\t-0.4
-1.2\tof

\\2-grams:
-0.3\t<s> the
-0.5\ta the
-0.4\tthe </s>

\\end\\
"""
PIECES = ["<unk>", "▁t", "he", "▁a", "s", "▁of", "n", "e", "▁", "<blk>"]
COLUMNS = len(PIECES)


def write_graph(path, *, bands_first=True, external=False, metadata=(), softmax=True, extra=()):
    """Write a network that pools eight frames (four where frames come first) and weighs their bands."""
    stride, F = 8 if bands_first else 4, 80
    weights = np.random.default_rng(5).standard_normal((F, COLUMNS)).astype(np.float32)
    names = ("audio_signal", "length", "logprobs") if bands_first else ("x", "x_lens", "log_probs")
    rows = names[0] if bands_first else "rows"
    nodes = [] if bands_first else [helper.make_node("Transpose", ["x"], ["rows"], perm=[0, 2, 1])]
    nodes += [
        # Zeros after the end, so that there is an output for each frame begun.
        helper.make_node("Pad", [rows, "pads"], ["padded"]),
        helper.make_node("AveragePool", ["padded"], ["pooled"], kernel_shape=[stride], strides=[stride]),
        helper.make_node("Transpose", ["pooled"], ["columns"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["columns", "weights"], ["logits"]),
        helper.make_node("LogSoftmax" if softmax else "Identity", ["logits"], [names[2]]),
    ]
    tensors = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.array([0, 0, 0, 0, 0, stride - 1]), "pads"),
    ]
    shape = ["B", F, "T"] if bands_first else ["B", "T", F]
    inputs = [
        helper.make_tensor_value_info(names[0], TensorProto.FLOAT, shape),
        *(helper.make_tensor_value_info(name, TensorProto.INT64, ["B"]) for name in (names[1], *extra)),
    ]
    outputs = [helper.make_tensor_value_info(names[2], TensorProto.FLOAT, ["B", "T'", COLUMNS])]
    graph = helper.make_graph(nodes, "net", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, dict(metadata))
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path), save_as_external_data=external, location="net.data", size_threshold=100)
    return weights


def write_vocabulary(path, tokens=PIECES):
    path.write_text("".join(f"{token} {index}\n" for index, token in enumerate(tokens)), encoding="utf-8")


def onnx_asr_folder(folder, **options):
    write_graph(folder / "model.onnx", **options)
    write_vocabulary(folder / "vocab.txt")
    config = {"model_type": "nemo-conformer-ctc", "features_size": 80, "subsampling_factor": 8}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def noise(seconds, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(round(16_000 * seconds))).astype(np.float32)


def in_one_batch(bundle, inputs):
    """Return the log-probabilities of features padded to one batch, as a GPU runs them."""
    assert bundle.graph.batches
    return bundle.graph.run(open_session(bundle.directory / "model.onnx", 1), inputs)


def test_a_folder_of_onnx_asr_gives_what_onnx_asr_gives(tmp_path):
    source = onnx_asr_folder(tmp_path / "source")
    bundle = convert(source, tmp_path / "bundle", name="net", licence="cc-by-4.0", origin="org/net@1")
    assert (bundle.name, bundle.licence, bundle.origin, bundle.frame_seconds) == ("net", "cc-by-4.0", "org/net@1", 0.08)
    assert (bundle.graph.stride, bundle.graph.layout, bundle.graph.blank) == (8, "bands", COLUMNS - 1)
    # The graph itself is untouched.
    assert (bundle.directory / "model.onnx").read_bytes() == (source / "model.onnx").read_bytes()
    assert model_facts(bundle)["network"] is None
    samples = [noise(seconds, seed) for seed, seconds in enumerate((0.5, 1.33, 2.0, 5.01))]
    transcriber = Transcriber(bundle, threads=1)
    log_probs = [transcriber.log_probs(x) for x in samples]
    transcript = transcriber.transcribe(samples[-1], source_rate=16_000)
    assert all(0 <= word.start_seconds <= word.end_seconds <= 5.01 for word in transcript.words)
    with pytest.raises(UsageError, match="trained elsewhere and has no weights for torch"):
        TorchRuntime(bundle, "cpu")
    with pytest.raises(UsageError, match="'net' cannot stream: as a converted model it recognises whole utterances"):
        LiveModel(bundle)
    onnx_asr = pytest.importorskip("onnx_asr")
    other = onnx_asr.load_model("nemo-conformer-ctc", source, providers=["CPUExecutionProvider"]).with_timestamps()
    for x, rows in zip(samples, log_probs, strict=True):
        best = rows.argmax(axis=1)
        got = [
            bundle.tokenizer.tokens[i] for i, before in zip(best, [0, *best[:-1]], strict=True) if i not in (0, before)
        ]
        assert [token.replace("▁", " ") for token in got] == other.recognize(x, sample_rate=16_000).tokens


@pytest.mark.parametrize("boundary", [True, False])
@pytest.mark.parametrize("form", ["arpa", "kenlm"])
def test_a_language_model_folder_comes_along_with_its_weights(tmp_path, boundary, form):
    source = onnx_asr_folder(tmp_path / "source")
    (source / "language_model").mkdir()
    if form == "kenlm":
        shutil.copyfile(TINY_KENLM, source / "language_model" / "3gram.bin")
    else:
        (source / "language_model" / "lm.arpa").write_text(ARPA)
    lm = NGramModel.read(next((source / "language_model").iterdir()))
    (source / "language_model" / "unigrams.txt").write_text("\n".join(lm.words[1:]))
    weights = {"alpha": 0.4, "beta": 1.25}
    attrs = {**weights, "unk_score_offset": -8.0, "score_boundary": boundary}
    (source / "language_model" / "attrs.json").write_text(json.dumps(attrs))
    bundle = convert(source, tmp_path / "bundle")
    assert bundle.decoding["oov_score"] == pytest.approx(0.4 * -8 * np.log(10))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decoder = BeamSearchDecoder(
            bundle.tokenizer.tokens,
            blank=0,
            lm=lm.adapted(sentence_start=boundary),
            frame_seconds=bundle.frame_seconds,
            options={**weights, "oov_score": 0.4 * -8 * np.log(10), "empty_score": 0.0, "sentence_end": boundary},
        )
    log_probs = Transcriber(bundle, threads=1).log_probs(noise(3.0))
    if form == "arpa":
        made = make_decoder(bundle, DecodingOptions(beam_size=100))
        assert made(log_probs) == decoder(log_probs)
        best = made(log_probs)[0]
        assert best.words
        assert best.lm_score == pytest.approx(lm.score(best.text, bos=boundary, eos=boundary), abs=1e-5)
    (source / "language_model" / "attrs.json").write_text(json.dumps({**attrs, "gamma": 1}))
    with pytest.raises(DecodingError, match="gamma"):
        convert(source, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_the_command_line_converts_and_describes(tmp_path):
    source = onnx_asr_folder(tmp_path / "source")
    runner = CliRunner()
    made = runner.invoke(app, ["convert", str(source), "--out", str(tmp_path / "net"), "--licence", "mit"])
    assert made.exit_code == 0, made.output
    assert "10 tokens, an output every 80 ms" in made.output
    shown = runner.invoke(app, ["info", str(tmp_path / "net")]).output
    assert "80 log-mel bands, 16000 Hz, a frame every 10 ms" in shown
    assert "mit" in shown


@pytest.mark.parametrize("softmax", [True, False])
def test_a_folder_of_sherpa_onnx_zipformer(tmp_path, softmax):
    metadata = {"model_type": "zipformer2_ctc"}
    weights = write_graph(tmp_path / "source" / "model.onnx", bands_first=False, metadata=metadata, softmax=softmax)
    write_vocabulary(tmp_path / "source" / "tokens.txt", ["<blk>", *PIECES[:-1]])
    bundle = convert(tmp_path / "source", tmp_path / "bundle")
    assert (bundle.frame_seconds, bundle.graph.layout, bundle.graph.normalised) == (0.04, "frames", softmax)
    samples = noise(1.7)
    features = Fbank(PRESETS["icefall"])(samples).astype(np.float64)
    T = -(-len(features) // 4)
    features = np.concatenate((features, np.zeros((4 * T - len(features), 80)))).reshape(T, 4, 80).mean(axis=1)
    logits = features @ weights
    logits -= logits.max(axis=1, keepdims=True)
    expected = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    (got,) = make_runtime(bundle, threads=1)([bundle.front_end(samples)])
    np.testing.assert_allclose(got, expected, atol=1e-3)
    # In a batch too, whatever else is in it.
    got = in_one_batch(bundle, [bundle.front_end(noise(3.1)), bundle.front_end(samples)])[1]
    np.testing.assert_allclose(got, expected, atol=1e-3)


def test_weights_beside_the_graph_come_along(tmp_path):
    source = onnx_asr_folder(tmp_path / "source", external=True)
    bundle = convert(source, tmp_path / "bundle")
    assert bundle.graph.data_files == ("net.data",)
    OnnxRuntime(bundle, 1)
    for force in (False, True):
        export_huggingface(bundle, tmp_path / "published", force=force)
        assert Bundle.load(tmp_path / "published").graph == bundle.graph
    (bundle.directory / "net.data").unlink()
    with pytest.raises(ModelError, match=r"net\.data missing"):
        Bundle.load(bundle.directory)
    (source / "net.data").unlink()
    with pytest.raises(ModelError, match=r"its weights are in net\.data, which is not beside it"):
        convert(source, tmp_path / "other")


def test_files_elsewhere_are_refused(tmp_path):
    source = onnx_asr_folder(tmp_path / "source", external=True)
    model = onnx.load(source / "model.onnx", load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../../secret"
    (source / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="names weights elsewhere"):
        convert(source, tmp_path / "bundle")
    bundle = convert(onnx_asr_folder(tmp_path / "good"), tmp_path / "bundle")
    config = json.loads((bundle.directory / "config.json").read_text(encoding="utf-8"))
    config["graph"]["data_files"] = ["../secret"]
    (bundle.directory / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="expected the name of a file in the bundle's folder"):
        Bundle.load(bundle.directory)


@pytest.fixture
def refused(tmp_path):
    def refused(folder, message, **options):
        with pytest.raises(AsrError, match=message) as caught:
            convert(folder, tmp_path / "refused", **options)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "refused").exists()

    return refused


def test_other_models_and_vocabularies_are_refused_with_the_remedy(tmp_path, refused):
    source = onnx_asr_folder(tmp_path / "source")
    config = json.loads((source / "config.json").read_text())
    for model_type, message in (
        ("nemo-conformer-rnnt", "nemo-conformer-rnnt is a transducer; expected a CTC model"),
        ("whisper-ort", "is an attention model"),
        ("sense-voice", "the model_type is sense-voice; expected one of nemo-conformer-ctc"),
    ):
        (source / "config.json").write_text(json.dumps(config | {"model_type": model_type}))
        refused(source, message)
    (source / "config.json").write_text(json.dumps(config))
    write_vocabulary(source / "vocab.txt", PIECES[:5])
    refused(source, "lists 5 tokens, and the network's output has 10 columns")
    write_vocabulary(source / "vocab.txt", [*PIECES[:-1], "x"])
    refused(source, "none of the tokens could be the blank; .*--blank")
    refused(source, "the blank is 10; expected a column, 0 to 9", blank=10)
    (source / "vocab.txt").unlink()
    refused(source, r"has no vocab\.txt or tokens\.txt")
    # NeMo's own vocabulary does not list the blank, which is the last column.
    write_vocabulary(source / "tokens.txt", PIECES[:-1])
    assert convert(source, tmp_path / "nemo").graph.blank == COLUMNS - 1
    with pytest.raises(UsageError, match="holds a model already"):
        convert(source, tmp_path / "nemo")
    convert(source, tmp_path / "nemo", force=True)
    with pytest.raises(UsageError, match="which is not part of an export"):
        convert(source, source, force=True)


def test_files_that_are_no_such_graph_are_refused_with_the_remedy(tmp_path, refused):
    source = onnx_asr_folder(tmp_path / "source")
    whole = (source / "model.onnx").read_bytes()
    (source / "model.onnx").write_bytes(whole[: len(whole) // 2])
    refused(source, "is damaged, or no ONNX file")
    (source / "model.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1f\nsize 9\n")
    refused(source, "is a pointer of Git LFS, .*run git lfs pull")
    for change, message in (
        (lambda model: setattr(model.opset_import[0], "version", 99), "newer than this ONNX Runtime: pip install -U"),
        (lambda model: setattr(model.graph.node[-1], "op_type", "Mine"), "operators that ONNX Runtime does not have"),
    ):
        model = onnx.load_from_string(whole)
        change(model)
        (source / "model.onnx").write_bytes(model.SerializeToString())
        refused(source, rf"{message}(?!.*onnxruntime_src)")
    write_graph(source / "model.onnx", extra=["language"])
    refused(source, "language.*expected features or a waveform")
    (source / "model.onnx").rename(source / "encoder.onnx")
    write_graph(source / "decoder_joint.onnx")
    refused(source, "a transducer or an attention model")
    (tmp_path / "model.nemo").write_bytes(b"so")
    refused(tmp_path / "model.nemo", r"is a checkpoint, which is not read here; export it with NeMo")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "is no model that is known here")


def optimum_folder(folder, **config):
    """Write a graph that takes the waveform, as optimum exports it: one token for each 8 samples."""
    folder.mkdir(exist_ok=True)
    weights = np.random.default_rng(5).standard_normal((1, 6)).astype(np.float32)
    nodes = [
        helper.make_node("Unsqueeze", ["input_values", "axis"], ["row"]),
        helper.make_node("AveragePool", ["row"], ["pooled"], kernel_shape=[8], strides=[8]),
        helper.make_node("Transpose", ["pooled"], ["columns"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["columns", "weights"], ["logits"]),
    ]
    tensors = [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([1]), "axis")]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("input_values", TensorProto.FLOAT, ["B", "N"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", "T", 6])],
        tensors,
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx"
    )
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate("_|abcd")}))
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True, "sampling_rate": 16_000}))
    (folder / "config.json").write_text(
        json.dumps({"architectures": ["Wav2Vec2ForCTC"], "model_type": "wav2vec2", "pad_token_id": 0} | config)
    )
    return folder


def test_the_blank_of_transformers_models_must_be_a_column(tmp_path, refused):
    assert convert(optimum_folder(tmp_path / "source"), tmp_path / "good").graph.blank == 0
    for pad in (6, -1, None, "0", True):
        refused(optimum_folder(tmp_path / "source", pad_token_id=pad), "the pad_token_id .*expected a column, 0 to 5")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", [], r"config\.json: holds a list; expected an object"),
        ("preprocessor_config.json", {"sampling_rate": "fast"}, r"is damaged, or of another format .ValueError"),
        ("preprocessor_config.json", 3, r"preprocessor_config\.json: holds a int"),
        ("vocab.json", {"a": "b"}, r"is no object of token: id"),
        ("vocab.json", {"_": 0, "|": 1, "a": 2}, r"lists 3 tokens, and the network's output has 6 columns"),
        ("added_tokens.json", {"a": None}, r"added_tokens\.json: is damaged"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"7": {}}}, r"tokenizer_config\.json: is damaged.*KeyError"),
        ("tokenizer_config.json", {"added_tokens_decoder": []}, r"tokenizer_config\.json: is damaged"),
    ],
)
def test_damaged_files_of_transformers_are_one_line(tmp_path, refused, name, content, message):
    source = optimum_folder(tmp_path / "source")
    (source / name).write_text(json.dumps(content))
    refused(source, message)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"feature_extractor_type": "ParakeetFeatureExtractor"},
            "is damaged, or of another format .KeyError: 'feature_s",
        ),
        ({"feature_extractor_type": "SeamlessM4TFeatureExtractor"}, "KeyError: 'num_mel_bins'"),
        ({"feature_extractor_type": "LasrFeatureExtractor", "feature_size": "many"}, "ValueError"),
        (
            {"feature_extractor_type": "WhisperFeatureExtractor"},
            "the feature extractor is WhisperFeatureExtractor; expec",
        ),
        ({"feature_extractor": []}, "AttributeError"),
        ([], "holds a list; expected an object"),
    ],
)
def test_damaged_or_unknown_extractors_are_one_line(tmp_path, settings, message):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=message) as caught:
        read_front_end(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper"},
            "an attention model; expected",
        ),
        ({"architectures": ["ParakeetForTDT"], "model_type": "parakeet_tdt"}, "is ParakeetForTDT, a transducer; expec"),
        ({"architectures": ["BertModel"]}, "is BertModel; expected a CTC model"),
        ({"model_type": "moonshine"}, "moonshine is an attention model; expected a CTC model"),
    ],
)
def test_what_is_no_ctc_model_is_told_what_it_is(tmp_path, refused, config, message):
    source = onnx_asr_folder(tmp_path / "source")
    (source / "config.json").write_text(json.dumps(config))
    refused(source, message)


def test_pieces_of_long_recordings_obey_the_model_s_limit(tmp_path):
    bundle = convert(onnx_asr_folder(tmp_path / "source"), tmp_path / "bundle", max_seconds=6.0)
    assert model_facts(bundle)["max_seconds"] == 6.0
    transcriber = Transcriber(bundle, threads=1)
    with pytest.raises(ModelError, match=r"an utterance of 7\.0 s; this model takes at most 6 s"):
        transcriber.log_probs(noise(7.0))
    # It would fail if a piece were longer; and the words have their places in the whole.
    transcript = transcriber.transcribe(noise(61.7), source_rate=16_000)
    starts = [word.start_seconds for word in transcript.words]
    assert starts == sorted(starts)
    assert starts[0] < 6
    assert starts[-1] > 55
    with pytest.raises(UsageError, match="expected 0, for any length, or 2 and more"):
        convert(tmp_path / "source", tmp_path / "other", max_seconds=0.5)
