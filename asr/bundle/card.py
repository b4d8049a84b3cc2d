"""Descriptions of a model: the card that Hugging Face reads, and the README beside an exported graph."""

import json
from string import Template
from typing import Any

from asr.bundle.bundle import Bundle, Precision
from asr.bundle.front_end import WaveformConfig
from asr.fbank import FbankConfig
from asr.features import LogMelConfig

# The features' settings beside an exported graph.
FEATURES = "features.json"


def model_card(bundle: Bundle) -> str:
    """Return ``README.md`` of a bundle, Markdown with a YAML header; its results are those measured so far."""
    return f"""{_header(bundle)}
# {bundle.name}

{bundle.description}

{_provenance(bundle)}

- **Features:** {_features(bundle)}
- **Network:** {_network(bundle)}
- **Output:** {len(bundle.tokenizer)} tokens ({bundle.tokenizer.kind}), one frame every \
{1000 * bundle.frame_seconds:g} ms

    asr transcribe --model FOLDER recording.wav

FOLDER is the one that this file is in, and the program that of the Python package ctc-asr. From Python:

    asr.load("FOLDER").transcribe("recording.wav").text
{_results_table(bundle)}"""


def _features(bundle: Bundle) -> str:
    features = bundle.features
    if isinstance(features, WaveformConfig):
        return f"the waveform at {features.sample_rate} Hz"
    if isinstance(features, FbankConfig):
        hop_ms = 1000 * features.frame_samples / features.sample_rate
    else:
        hop_ms = 1000 * features.hop_seconds
    return f"{features.n_mels} log-mel bands at {features.sample_rate} Hz, a frame every {hop_ms:g} ms"


def _network(bundle: Bundle) -> str:
    model = bundle.model
    if model is None:
        return "trained elsewhere, with CTC"
    cell = ("bidirectional " if model.bidirectional else "") + model.cell.upper().replace("_", " ")
    convolutions = "three" if len(model.strides) == 3 else "two"
    return (
        f"{convolutions} convolutions (time reduced {model.time_reduction}-fold), {model.num_layers} × "
        f"{model.hidden_size} {cell}, trained with CTC"
    )


def _header(bundle: Bundle) -> str:
    """Return the YAML between two lines of dashes; JSON's strings are YAML's, whatever they hold."""
    fields: dict[str, Any] = {
        "language": bundle.language,
        "license": bundle.licence,
        "library_name": "ctc-asr",
        "pipeline_tag": "automatic-speech-recognition",
        "datasets": [bundle.dataset],
        "tags": ["automatic-speech-recognition", "ctc", *([bundle.model.cell] if bundle.model else []), "onnx"],
        "metrics": ["wer", "cer"],
    }
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
    if bundle.results:
        lines += ["model-index:", f"  - name: {json.dumps(bundle.name, ensure_ascii=False)}", "    results:"]
        lines += [f"      - {json.dumps(_result(bundle, row), ensure_ascii=False)}" for row in bundle.results]
    return "\n".join(["---", *lines, "---", ""])


def _result(bundle: Bundle, row: dict[str, Any]) -> dict[str, Any]:
    """Return one entry of the model index: https://github.com/huggingface/hub-docs, modelcard.md."""
    return {
        "task": {"type": "automatic-speech-recognition", "name": "Automatic Speech Recognition"},
        "dataset": {"name": bundle.dataset, "type": bundle.dataset, "split": row["split"]},
        "metrics": [
            {"type": "wer", "name": f"WER, {row['decoder']}", "value": round(row["wer"], 2)},
            {"type": "cer", "name": f"CER, {row['decoder']}", "value": round(row["cer"], 2)},
        ],
    }


def eval_results(bundle: Bundle, dataset: str) -> str:
    """Return ``.eval_results/*.yaml`` of the Hub: the best WER of each split, for the dataset's leaderboard.

    Parameters
    ----------
    bundle : Bundle
    dataset : str
        The Hub's name of what they were measured on; the names of its splits are those of its tasks. Format:
        https://huggingface.co/docs/hub/eval-results.
    """
    best = {row["split"]: row for row in sorted(bundle.results, key=lambda row: -row["wer"])}
    entries = [
        {
            "dataset": {"id": dataset, "task_id": split},
            "value": round(row["wer"], 2),
            "notes": f"WER in per cent, {row['decoder']}; 95 % interval {row['low']:.1f}–{row['high']:.1f}",
        }
        for split, row in best.items()
    ]
    return "".join(f"- {json.dumps(entry, ensure_ascii=False)}\n" for entry in entries)


def _provenance(bundle: Bundle) -> str:
    how = "Fine-tuned" if bundle.model else "Converted"
    origin = f" {how} from {bundle.origin}." if bundle.origin else ""
    return (
        f"Trained on {bundle.dataset} (language: {bundle.language}); licence of the weights: {bundle.licence}.{origin}"
    )


def _results_table(bundle: Bundle) -> str:
    if not bundle.results:
        return ""
    rows = [
        f"| {row['split']} | {row['decoder']} | {row['wer']:.2f} | {row['low']:.1f}–{row['high']:.1f} "
        f"| {row['cer']:.2f} | {row['utterances']} | {row['words']} |"
        for row in bundle.results
    ]
    heading = [
        "",
        "| set | decoder | WER % | 95 % interval | CER % | utterances | words |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*heading, *rows, ""])


def onnx_card(bundle: Bundle, precision: Precision) -> str:
    """Return the ``README.md`` beside an exported graph: its inputs, outputs and features, and how to use it."""
    config, model = bundle.features, bundle.described()
    assert isinstance(config, LogMelConfig)
    return _ONNX_CARD.substitute(
        name=bundle.name,
        precision=precision,
        description=bundle.description,
        provenance=_provenance(bundle),
        n_mels=config.n_mels,
        vocabulary=len(bundle.tokenizer),
        reduction=model.time_reduction,
        alone=_ALONE if precision == "int8" else "",
        frame_ms=f"{1000 * bundle.frame_seconds:g}",
        rate=config.sample_rate,
        window=config.window_samples,
        hop=config.hop_samples,
        floor=f"{config.floor:g}",
        features=FEATURES,
        between=" " if bundle.tokenizer.kind == "phones" else "",
        join="" if bundle.tokenizer.kind in ("characters", "phones") else '.replace("▁", " ").strip()',
    )


_ALONE = """
The scales of int8 are taken over the whole input: give one utterance per call, or its values depend on the others. The
graph needs ONNX Runtime, for its operator `com.microsoft.DynamicQuantizeLSTM`.
"""

_ONNX_CARD = Template("""# $name, ONNX, $precision

$description

$provenance

| tensor of `model.onnx` | shape | type | what |
|---|---|---|---|
| input `features` | (B, T, $n_mels) | float32 | log-mel features; what lies beyond an utterance is ignored |
| input `lengths` | (B,) | int64 | frames of each utterance, 1 to T |
| output `log_probs` | (B, T', $vocabulary) | float32 | natural logarithms of the tokens' probabilities |
| output `output_lengths` | (B,) | int64 | output frames of each utterance: `lengths` / $reduction, rounded up |
$alone
An output frame is $frame_ms ms. `tokens.json` lists the tokens in the order of the columns; the first is CTC's blank.
The tokens and the features' settings are in the metadata of `model.onnx`, too.

The features are made of mono audio at $rate Hz in [-1, 1], with zeros before and after it:

- a frame of $window samples every $hop samples, the first centred on the first sample; 1 + samples / $hop frames
- a periodic Hann window, the squared magnitude of the Fourier transform, the mel filters in `filterbank.npy`
- the natural logarithm of at least $floor; the graph normalises them itself

```python
import json

import numpy as np
import onnxruntime
import soundfile

samples, rate = soundfile.read("recording.wav", dtype="float32")
with open("tokens.json", encoding="utf-8") as file:
    tokens = json.load(file)
with open("$features", encoding="utf-8") as file:
    config = json.load(file)
assert rate == config["sample_rate"] and samples.ndim == 1

window, hop = $window, $hop
frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, (window // 2, window)), window)[::hop]
frames = frames[: 1 + len(samples) // hop]
hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
power = np.abs(np.fft.rfft(frames * hann)) ** 2
features = np.log(np.maximum(power @ np.load("filterbank.npy").T, config["floor"]))

options = onnxruntime.SessionOptions()
# Without it, int8 is wrong on processors without VNNI.
options.add_session_config_entry("session.x64quantprecision", "1")
session = onnxruntime.InferenceSession("model.onnx", options, providers=["CPUExecutionProvider"])
inputs = {"features": features[None].astype(np.float32), "lengths": np.array([len(features)])}
log_probs = session.run(["log_probs"], inputs)[0][0]
best = log_probs.argmax(axis=1)
text = "$between".join(tokens[i] for i, before in zip(best, [0, *best]) if i and i != before)$join
print(text)
```

`asr.decoder` of the Python package ctc-asr takes `log_probs` and `tokens.json`, for beam search, times and confidences.
""")
