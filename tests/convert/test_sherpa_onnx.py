"""Models in sherpa-onnx's layouts: what sherpa-onnx itself hears where it is installed, and the same sums in NumPy."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the files are made with onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from asr.bundle.runtime import make_runtime  # noqa: E402
from asr.convert.convert import convert  # noqa: E402
from asr.errors import AsrError  # noqa: E402
from asr.transcription.transcribe import Transcriber  # noqa: E402
from tests.convert.test_onnx_folder import in_one_batch, noise, write_vocabulary  # noqa: E402

PIECES = ["<blk>", "<unk>", "▁t", "he", "▁a", "s", "▁of", "n", "e", "ing", "▁i", "o"]
MOODS = ["<unk>", "<s>", "</s>", *PIECES[2:], "<|en|>", "<|HAPPY|>", "<|Speech|>", "<|withitn|>"]
SENSE_VOICE = {
    "model_type": "sense_voice_ctc", "lfr_window_size": 7, "lfr_window_shift": 6, "normalize_samples": 0,
    "lang_auto": 0, "lang_zh": 3, "lang_en": 4, "lang_yue": 7, "lang_ja": 11, "lang_ko": 12, "with_itn": 14,
    "without_itn": 15, "vocab_size": len(MOODS), "comment": "iic/SenseVoiceSmall",
}  # fmt: skip


def save(path, nodes, inputs, outputs, tensors, metadata):
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {key: str(value) for key, value in metadata.items()})
    path.parent.mkdir(parents=True)
    onnx.save(model, str(path))


def contrasts(width, columns):
    """Return weights that do not care for loudness, so that what is heard changes with the spectrum."""
    weights = np.random.default_rng(5).standard_normal((width, columns))
    return (weights - weights.mean(axis=0)).astype(np.float32)


def features_folder(folder, metadata):
    """Write a network that pools four frames of 80 bands, as Zipformer's and WeNet's exports: whole pools alone."""
    columns = len(PIECES)
    nodes = [
        helper.make_node("Transpose", ["x"], ["rows"], perm=[0, 2, 1]),
        helper.make_node("AveragePool", ["rows"], ["pooled"], kernel_shape=[4], strides=[4]),
        helper.make_node("Transpose", ["pooled"], ["columns"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["columns", "weights"], ["logits"]),
        helper.make_node("LogSoftmax", ["logits"], ["log_probs"]),
        helper.make_node("Div", ["x_lens", "four"], ["log_probs_len"]),
    ]
    inputs = [("x", TensorProto.FLOAT, ["N", "T", 80]), ("x_lens", TensorProto.INT64, ["N"])]
    outputs = [("log_probs", TensorProto.FLOAT, ["N", "U", columns]), ("log_probs_len", TensorProto.INT64, ["N"])]
    tensors = {"weights": contrasts(80, columns), "four": np.array([4])}
    save(folder / "model.onnx", nodes, inputs, outputs, tensors, metadata)
    write_vocabulary(folder / "tokens.txt", PIECES)
    return folder


def omnilingual_folder(folder):
    """Write a network of the waveform whose values depend on how loud it is: 320 samples a frame."""
    columns = len(PIECES)
    random = np.random.default_rng(5)
    nodes = [
        helper.make_node("Unsqueeze", ["x", "one"], ["row"]),
        helper.make_node("Conv", ["row", "kernel"], ["filtered"], kernel_shape=[400], strides=[320]),
        helper.make_node("Tanh", ["filtered"], ["bounded"]),
        helper.make_node("Transpose", ["bounded"], ["columns"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["columns", "weights"], ["logits"]),
    ]
    tensors = {
        "one": np.array([1]),
        "kernel": (0.05 * random.standard_normal((16, 1, 400))).astype(np.float32),
        "weights": random.standard_normal((16, columns)).astype(np.float32),
    }
    inputs, outputs = [("x", TensorProto.FLOAT, ["N", "S"])], [("logits", TensorProto.FLOAT, ["N", "T", columns])]
    save(folder / "model.onnx", nodes, inputs, outputs, tensors, {"model_type": "omnilingual-asr"})
    write_vocabulary(folder / "tokens.txt", ["<s>", *PIECES[1:]])
    return folder


def sense_voice_folder(folder, **changes):
    """Write a network that says four tokens of its own first; what it is told moves all of its values."""
    columns, random = len(MOODS), np.random.default_rng(5)
    weights = contrasts(560, columns)
    told = (5 * random.standard_normal((16, columns))).astype(np.float32)
    # Its audio has no moods.
    weights[:, -4:], told[:, -4:] = 0, -99
    first = np.full((4, columns), -99, np.float32)
    first[range(4), range(columns - 4, columns)] = 999
    nodes = [
        helper.make_node("MatMul", ["x", "weights"], ["of_audio"]),
        helper.make_node("Shape", ["x_length"], ["N"]),
        helper.make_node("Concat", ["N", "of_first"], ["shape"], axis=0),
        helper.make_node("Expand", ["first", "shape"], ["firsts"]),
        helper.make_node("Concat", ["firsts", "of_audio"], ["whole"], axis=1),
        helper.make_node("Gather", ["told", "language"], ["by_language"]),
        helper.make_node("Gather", ["told", "text_norm"], ["by_text_norm"]),
        helper.make_node("Add", ["by_language", "by_text_norm"], ["by_both"]),
        helper.make_node("Unsqueeze", ["by_both", "one"], ["everywhere"]),
        helper.make_node("Add", ["whole", "everywhere"], ["logits"]),
    ]
    integers = [(name, TensorProto.INT32, ["N"]) for name in ("x_length", "language", "text_norm")]
    metadata = SENSE_VOICE | {
        "neg_mean": ",".join(map(str, -random.uniform(6, 9, 560).round(4))),
        "inv_stddev": ",".join(map(str, random.uniform(0.2, 0.4, 560).round(4))),
    }
    metadata = {key: value for key, value in (metadata | changes).items() if value is not None}
    save(
        folder / "model.onnx", nodes, [("x", TensorProto.FLOAT, ["N", "T", 560]), *integers],
        [("logits", TensorProto.FLOAT, ["N", "U", columns])],
        {"weights": weights, "told": told, "first": first, "one": np.array([1]), "of_first": np.array([4, columns])},
        metadata,
    )  # fmt: skip
    write_vocabulary(folder / "tokens.txt", MOODS)
    return folder, weights, told, metadata


def heard(bundle, samples):
    """Return the tokens of the best path and their seconds, as sherpa-onnx gives them."""
    (rows,) = make_runtime(bundle, threads=1)([bundle.front_end(samples)])
    best = rows.argmax(axis=1)
    places = [t for t, index in enumerate(best) if index and (not t or best[t - 1] != index)]
    tokens = [bundle.tokenizer.tokens[best[t]].replace("▁", " ") for t in places]
    return tokens, [t * bundle.frame_seconds for t in places]


def heard_by_sherpa(recognizer, samples):
    stream = recognizer.create_stream()
    stream.accept_waveform(16_000, samples)
    recognizer.decode_stream(stream)
    return [token.replace("▁", " ") for token in stream.result.tokens], stream.result.timestamps


def log_softmax(logits):
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def check_same(bundle, expected, samples):
    """Check the log-probabilities of each recording, alone and in a batch."""
    runtime = make_runtime(bundle, threads=1)
    inputs = [bundle.front_end(x) for x in samples]
    together = in_one_batch(bundle, inputs) if bundle.graph.batches else runtime(inputs)
    for one, in_batch, rows in zip(inputs, together, expected, strict=True):
        (alone,) = runtime([one])
        np.testing.assert_allclose(alone, rows, atol=1e-3)
        np.testing.assert_allclose(in_batch, rows, atol=1e-3)


def check_heard_the_same(bundle, recognizer, source, samples, **options):
    """Check tokens and times against sherpa-onnx, where it is installed."""
    sherpa_onnx = pytest.importorskip("sherpa_onnx")
    make = getattr(sherpa_onnx.OfflineRecognizer, recognizer)
    other = make(model=str(source / "model.onnx"), tokens=str(source / "tokens.txt"), num_threads=1, **options)
    for x in samples:
        tokens, seconds = heard(bundle, x)
        expected_tokens, expected_seconds = heard_by_sherpa(other, x)
        assert len(tokens) > 2
        assert tokens == expected_tokens
        np.testing.assert_allclose(seconds, expected_seconds, atol=1e-4)


RECORDINGS = [noise(seconds, seed) for seed, seconds in enumerate((0.51, 1.3, 3.07, 6.2))]


@pytest.mark.parametrize(
    ("metadata", "kaldi_options"),
    [
        ({"model_type": "zipformer2_ctc"}, {"snip_edges": False, "high_freq": -400.0}),
        ({"model_type": "wenet_ctc", "vocab_size": len(PIECES), "subsampling_factor": 4}, {}),
    ],
)
def test_networks_of_kaldi_s_features(tmp_path, metadata, kaldi_options):
    torch = pytest.importorskip("torch")
    kaldi = pytest.importorskip("torchaudio.compliance.kaldi")
    source = features_folder(tmp_path / "source", metadata)
    bundle = convert(source, tmp_path / "bundle")
    assert (bundle.frame_seconds, bundle.graph.batches) == (0.04, True)
    scale = 1 if kaldi_options else 32768
    expected = []
    for samples in RECORDINGS:
        rows = kaldi.fbank(torch.from_numpy(samples)[None] * scale, num_mel_bins=80, dither=0.0, **kaldi_options)
        pools = rows[: len(rows) // 4 * 4].reshape(-1, 4, 80).mean(dim=1).numpy()
        expected.append(log_softmax(pools @ contrasts(80, len(PIECES))))
    check_same(bundle, expected, RECORDINGS)
    if kaldi_options:
        # For WeNet's networks, sherpa-onnx takes Zipformer's features, with random noise; WeNet itself does not.
        check_heard_the_same(bundle, "from_zipformer_ctc", source, RECORDINGS)


def test_omnilingual_networks_of_faint_recordings(tmp_path):
    source = omnilingual_folder(tmp_path / "source")
    bundle = convert(source, tmp_path / "bundle")
    assert (bundle.frame_seconds, bundle.graph.max_seconds, bundle.graph.blank) == (0.02, 40.0, 0)
    # So faint that the number that is added to the variance is as large as that.
    samples = [0.03 * x for x in RECORDINGS]
    graph = onnx.load(source / "model.onnx").graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    expected = []
    for x in samples:
        x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
        frames = np.lib.stride_tricks.sliding_window_view(x, 400)[::320]
        expected.append(log_softmax(np.tanh(frames @ tensors["kernel"][:, 0].T) @ tensors["weights"]))
    check_same(bundle, expected, samples)
    check_heard_the_same(bundle, "from_omnilingual_asr_ctc", source, samples)


@pytest.mark.parametrize("language", ["", "en"])
def test_sense_voice_is_told_the_language_and_its_first_four_frames_are_no_text(tmp_path, language):
    torch = pytest.importorskip("torch")
    kaldi = pytest.importorskip("torchaudio.compliance.kaldi")
    source, weights, told, metadata = sense_voice_folder(tmp_path / "source")
    bundle = convert(source, tmp_path / "bundle", language=language)
    assert (bundle.frame_seconds, bundle.graph.batches) == (0.06, True)
    mean, deviation = (np.array(metadata[name].split(","), float) for name in ("neg_mean", "inv_stddev"))
    expected = []
    for samples in RECORDINGS:
        rows = kaldi.fbank(
            torch.from_numpy(samples)[None] * 32768, num_mel_bins=80, dither=0.0, window_type="hamming"
        ).numpy()
        places = np.clip(6 * np.arange(-(-len(rows) // 6))[:, None] + np.arange(-3, 4), 0, len(rows) - 1)
        stacked = (rows[places].reshape(len(places), 560) + mean) * deviation
        expected.append(log_softmax(stacked @ weights + told[4 if language else 0] + told[14]))
    check_same(bundle, expected, RECORDINGS)
    transcript = Transcriber(bundle, threads=1).transcribe(noise(61.7), source_rate=16_000)
    assert "<|" not in transcript.text
    assert 55 < transcript.words[-1].end_seconds <= 61.7
    check_heard_the_same(bundle, "from_sense_voice", source, RECORDINGS, language=language, use_itn=True)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"language": "fr"}, "have no language 'fr'; expected one of auto, en, ja, ko, yue, zh"),
        ({"lang_auto": None}, {}, "have no language 'auto'"),
        ({"neg_mean": None}, {}, "is damaged, or of another format .KeyError: 'neg_mean'"),
        ({"neg_mean": "1,2"}, {}, "have 2 values of neg_mean, 560 of inv_stddev and an lfr_window_size of 7"),
    ],
)
def test_sense_voice_s_metadata_are_checked(tmp_path, changes, options, message):
    source, *_ = sense_voice_folder(tmp_path / "source", **changes)
    with pytest.raises(AsrError, match=message) as caught:
        convert(source, tmp_path / "bundle", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "bundle").exists()
