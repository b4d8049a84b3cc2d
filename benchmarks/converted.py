"""How fast a converted model is beside onnx-asr and the pipeline of transformers, turn by turn.

    python benchmarks/converted.py [--layers 4] [--width 256] [--recordings 100] [--rounds 5]

A FastConformer CTC model (Parakeet) with random weights, exported once: this package and onnx-asr (PyPI) run the same
ONNX file, transformers' pipeline the network that it was exported from, with PyTorch. All have one core. Recordings are
noise of 0.5 to 20 s. Then this package decodes greedily, and with a beam of 100 and the 3-gram of the model `english`.
Prints medians over the rounds, of seconds on the clock and of the processor's. Needs the [convert] extra and onnx-asr.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))

import onnx
import onnx_asr
import onnxruntime
import tokenizers
import torch
import transformers

import asr
from asr.bundle.shipped import SHIPPED
from asr.convert.convert import convert
from benchmarks.conversion import RATE, recordings

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOKENS = ["<unk>", *LETTERS, *(f"▁{letter}" for letter in LETTERS), "'", "<pad>"]
Samples = NDArray[np.float32]


def make_model(folder: Path, layers: int, width: int) -> Any:
    """Save a model and its extractor; return the pipeline of transformers with them."""
    torch.manual_seed(3)
    blank = len(TOKENS) - 1
    encoder = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": 4 * width,
    }
    config = transformers.ParakeetCTCConfig(vocab_size=len(TOKENS), pad_token_id=blank, encoder_config=encoder)
    model = transformers.ParakeetForCTC(config).eval()
    with torch.no_grad():
        # As sure of itself as a trained model is.
        model.ctc_head.weight.mul_(40)
        model.ctc_head.bias[0] = -60.0
    model.save_pretrained(folder)
    extractor = transformers.ParakeetFeatureExtractor()
    extractor.save_pretrained(folder)
    pieces = tokenizers.Tokenizer(tokenizers.models.Unigram([(token, 0.0) for token in TOKENS], unk_id=0))
    pieces.decoder = tokenizers.decoders.Metaspace()
    pieces.save(str(folder / "tokenizer.json"))
    tokenizer = transformers.ParakeetTokenizer(tokenizer_file=str(folder / "tokenizer.json"), pad_token="<pad>")
    return transformers.pipeline(
        "automatic-speech-recognition", model=model, feature_extractor=extractor, tokenizer=tokenizer
    )


def as_onnx_asr(bundle: asr.Bundle, folder: Path) -> Path:
    """Write the graph of a bundle in onnx-asr's layout, which has bands before frames and names of its own."""
    folder.mkdir()
    model = onnx.load(bundle.directory / "model.onnx")
    names = {"features": "frames", "lengths": "length", "log_probs": "logprobs"}
    for node in model.graph.node:
        for values in (node.input, node.output):
            for index, name in enumerate(values):
                values[index] = names.get(name, name)
    for value in (*model.graph.input, *model.graph.output):
        value.name = names.get(value.name, value.name)
    given = model.graph.input[0]
    given.name = "audio_signal"
    time_axis, bands = given.type.tensor_type.shape.dim[1:]
    first, second = time_axis.SerializeToString(), bands.SerializeToString()
    time_axis.ParseFromString(second)
    bands.ParseFromString(first)
    model.graph.node.insert(0, onnx.helper.make_node("Transpose", ["audio_signal"], ["frames"], perm=[0, 2, 1]))
    onnx.save(model, str(folder / "model.onnx"))
    # The exported graph has the blank in front.
    tokens = ["<blk>", *TOKENS[:-1]]
    (folder / "vocab.txt").write_text("".join(f"{token} {index}\n" for index, token in enumerate(tokens)))
    config = {"model_type": "nemo-conformer-ctc", "features_size": 80, "subsampling_factor": 8}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def medians(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Return seconds on the clock and of the processor, each run once a round, after one that is not counted."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            clock, processor = time.perf_counter(), time.process_time()
            run()
            if turn:
                seconds[name].append((time.perf_counter() - clock, time.process_time() - processor))
    return {
        name: (statistics.median(row[0] for row in rows), statistics.median(row[1] for row in rows))
        for name, rows in seconds.items()
    }


def table(title: str, found: dict[str, tuple[float, float]], ours: str) -> None:
    """Print medians, and what the first run takes of each one's time."""
    print(f"\n| {title} | s | s of CPU | {ours} takes | of CPU |\n|---|---|---|---|---|")
    for name, (clock, processor) in found.items():
        shares = f"{found[ours][0] / clock:.2f} × | {found[ours][1] / processor:.2f} ×"
        print(f"| {name} | {clock:.2f} | {processor:.2f} | {shares} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("layers", 4), ("width", 256), ("recordings", 100), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    # The peers' feature extractors have threads that no option of theirs limits.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    samples = recordings(options.recordings)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pipeline = make_model(folder / "source", options.layers, options.width)
        source = as_onnx_asr(convert(folder / "source", folder / "exported"), folder / "onnx-asr")
        bundle = convert(source, folder / "bundle")
        one_thread = onnxruntime.SessionOptions()
        one_thread.intra_op_num_threads = 1
        peer = onnx_asr.load_model(
            "nemo-conformer-ctc", source, providers=["CPUExecutionProvider"], sess_options=one_thread
        )
        greedy = asr.load(bundle, threads=1)
        beam = asr.load(bundle, threads=1, beam_size=100, lm=SHIPPED / "english" / "lm.bin")

        def transcribed(transcriber: asr.Transcriber) -> list[Any]:
            return list(transcriber.transcribe_many(samples, source_rate=RATE))

        same = sum(
            row.text == peer.recognize(x, sample_rate=RATE) for row, x in zip(transcribed(greedy), samples, strict=True)
        )
        seconds = sum(map(len, samples)) / RATE
        print(f"{options.layers} × {options.width}; {len(samples)} recordings, {seconds:.0f} s; {same} same texts")
        ordered = sorted(samples, key=len)
        peers = {
            "this package": lambda: transcribed(greedy),
            "onnx-asr": lambda: [peer.recognize(x, sample_rate=RATE) for x in samples],
            "onnx-asr, sorted, 8 a batch": lambda: [
                peer.recognize(ordered[first : first + 8], sample_rate=RATE) for first in range(0, len(ordered), 8)
            ],
            "transformers' pipeline": lambda: [pipeline({"raw": x, "sampling_rate": RATE}) for x in samples],
        }
        table("", medians(peers, options.rounds), "this package")
        decoders = {"beam 100, 3-gram": lambda: transcribed(beam), "greedy": lambda: transcribed(greedy)}
        table("decoder", medians(decoders, options.rounds), "beam 100, 3-gram")


if __name__ == "__main__":
    main()
