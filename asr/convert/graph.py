"""An ONNX file that another toolkit wrote: which weights lie beside it, which tensors it has, what it does."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.bundle.front_end import WaveformConfig, foreign_front_end
from asr.bundle.graph_config import INTEGERS, GraphConfig
from asr.bundle.runtime import open_session
from asr.errors import ModelError, first_line
from asr.fbank import FbankConfig

# Lengths of the noise on which a graph is tried, in seconds.
TRIAL_SECONDS = (4.0, 2.63, 3.171, 1.402)
# Log-probabilities in a batch differ at most so much from those of the utterance alone.
SAME = 1e-3
# How many samples wav2vec 2.0's convolutions see for their first frame.
WAV2VEC2_SAMPLES = 400
# Fields of protocol buffers, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
MODEL_GRAPH, GRAPH_INITIALIZER, TENSOR_EXTERNAL, ENTRY_KEY, ENTRY_VALUE = 7, 5, 13, 1, 2
BYTES, VARINT = 2, 0


@dataclass(frozen=True)
class Trial:
    """What a graph did with noise.

    Parameters
    ----------
    graph : GraphConfig
    columns : int
        Tokens of the output.
    stride : int
        Frames of the input for one of the output.
    """

    graph: GraphConfig
    columns: int
    stride: int


def open_graph(path: Path) -> Any:
    """Return ONNX Runtime's session of a file.

    Raises
    ------
    ModelError
        Naming the remedy: if weights beside it are missing, or it needs another version or other operators.
    """
    for name in external_files(path):
        if not (path.parent / name).is_file():
            raise ModelError(f"{path}: its weights are in {name}, which is not beside it; download that file too")
    try:
        return open_session(path)
    except ModelError as error:
        text = str(error)
        if "opset" in text.lower() or "IR version" in text:
            remedy = "is newer than this ONNX Runtime: pip install -U onnxruntime, or export it with an older opset"
        elif "No Op registered" in text or "not a registered" in text:
            remedy = "needs operators that ONNX Runtime does not have; export it without custom operators"
        else:
            remedy = "cannot be loaded: it is damaged, or no ONNX file; download or export it again"
        reason = first_line(text.partition("cannot be loaded (")[2].rpartition("); export or")[0])
        # Without the place in ONNX Runtime's own source.
        reason = re.sub(r"/onnxruntime_src/\S+ .*\) (?=[A-Z])", "", reason)
        raise ModelError(f"{path}: {remedy} ({reason})") from None


def external_files(path: Path) -> list[str]:
    """Return the names of the files beside a graph that hold its weights.

    Raises
    ------
    ModelError
        If the file is no ONNX file, or names a file elsewhere.
    """
    content = path.read_bytes()
    if content.startswith(b"version https://git-lfs"):
        raise ModelError(
            f"{path}: is a pointer of Git LFS, and not the file that it stands for; run git lfs pull there"
        )
    names: dict[str, None] = {}
    try:
        for graph in _fields(content, MODEL_GRAPH):
            for tensor in _fields(graph, GRAPH_INITIALIZER):
                for entry in _fields(tensor, TENSOR_EXTERNAL):
                    key, value = (b"".join(_fields(entry, field)).decode() for field in (ENTRY_KEY, ENTRY_VALUE))
                    if key == "location":
                        names[value.removeprefix("./")] = None
    except (IndexError, UnicodeDecodeError):
        raise ModelError(f"{path}: is damaged, or no ONNX file; download or export it again") from None
    outside = [name for name in names if Path(name).name != name or "\\" in name]
    if outside:
        raise ModelError(f"{path}: names weights elsewhere, {outside[0]!r}; expected files beside it")
    return list(names)


def _fields(message: bytes | memoryview, wanted: int) -> Iterator[memoryview]:
    """Yield the values of a field of a protocol buffer's message that are messages or strings themselves."""
    view, place = memoryview(message), 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = view[place]
            place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while place < len(view):
        number, kind = divmod(varint(), 8)
        if kind == BYTES:
            size = varint()
            if place + size > len(view):
                raise IndexError
            if number == wanted:
                yield view[place : place + size]
            place += size
        elif kind == VARINT:
            varint()
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
        else:
            raise IndexError


def tensors(
    session: Any, path: Path, layout: str = "", constants: Mapping[str, int] = MappingProxyType({})
) -> GraphConfig:
    """Return the tensors of a CTC graph, told by their types and shapes.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
    path : Path
        For messages.
    layout : {"", "frames", "bands"}
        That of features; empty to tell it by the shape.
    constants : mapping of str to int
        Inputs whose values are known, as of `GraphConfig`.

    Raises
    ------
    ModelError
        If the graph takes or gives something else.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    listed = ", ".join(f"{value.name} {value.type} {value.shape}" for value in inputs)
    first, others = inputs[0], [value for value in inputs[1:] if value.name not in constants]
    rank = len(first.shape)
    takes_features = first.type == "tensor(float)" and rank in (2, 3)
    if not takes_features or len(others) > 1 or any(value.type not in INTEGERS for value in others):
        raise ModelError(
            f"{path}: takes {listed}; expected features or a waveform (float), and at most their lengths or mask: "
            "models that stream, and those that ask for a language, are not supported; export one that does neither"
        )
    given = [value for value in outputs if value.type == "tensor(float)" and len(value.shape) == 3]
    if not given:
        raise ModelError(
            f"{path}: gives {', '.join(f'{value.name} {value.shape}' for value in outputs)}; expected the "
            "log-probabilities of a CTC model, (batch, frames, tokens)"
        )
    counts = [value.name for value in outputs if value.type in INTEGERS and len(value.shape) == 1]
    if rank == 3 and not layout:
        layout = "bands" if isinstance(first.shape[1], int) and not isinstance(first.shape[2], int) else "frames"
    return GraphConfig(
        features=first.name,
        lengths=others[0].name if others else "",
        lengths_are="mask" if others and len(others[0].shape) == 2 else "counts",
        log_probs=given[0].name,
        output_lengths=next(iter(counts), ""),
        layout="samples" if rank == 2 else layout,  # type: ignore[arg-type]
        constants=dict(constants),
        data_files=tuple(external_files(path)),
    )


def try_graph(session: Any, graph: GraphConfig, features: WaveformConfig | FbankConfig, path: Path) -> Trial:
    """Run a graph on noise, to see how long its output is, whether it is normalised, and what a batch changes.

    Raises
    ------
    ModelError
        If it cannot be run, or does not give log-probabilities.
    """
    front_end = foreign_front_end(features)
    random = np.random.default_rng(0)
    noise = [0.1 * random.standard_normal(round(seconds * features.sample_rate)) for seconds in TRIAL_SECONDS]
    inputs = [front_end(samples.astype(np.float32)) for samples in noise]
    raw = replace(graph, normalised=True, batches=False)
    try:
        outputs = [raw.run(session, [x])[0] for x in inputs]
    except ModelError as error:
        raise ModelError(f"{path}: {first_line(error)}: the front end is another than this model's") from None
    T = len(outputs[0])
    seen = [(len(x), len(rows)) for x, rows in zip(inputs, outputs, strict=True)]
    stride = _stride(seen, features.sample_rate // 1000 if isinstance(features, WaveformConfig) else 1)
    if stride < 1 or not all(np.isfinite(rows).all() for rows in outputs):
        raise ModelError(f"{path}: gives {T} frames for {len(inputs[0])}, or numbers that are not finite")
    totals = [np.exp(rows.astype(np.float64) - rows.max()).sum(axis=1) * np.exp(float(rows.max())) for rows in outputs]
    graph = replace(graph, normalised=all(bool(np.allclose(total, 1.0, atol=SAME)) for total in totals))
    if not graph.output_lengths:
        graph = _with_lengths(graph, stride, seen)
    same = bool(graph.lengths) and _same_in_batch(session, graph, inputs, outputs)
    return Trial(replace(graph, batches=same), outputs[0].shape[1], stride)


def _stride(seen: list[tuple[int, int]], unit: int) -> int:
    """Return how many frames of the input, or samples, there are for one of the output; 0 where that cannot be told.

    What the first frame of the output needs besides does not count. Of what the lengths leave open, a multiple of
    `unit`, a millisecond of samples, is likelier than its neighbours.
    """
    (short, few), (long, many) = min(seen), max(seen)
    if many - few < 2:
        return 0
    low, high = (long - short) / (many - few + 1), (long - short) / (many - few - 1)
    estimate = (long - short) / (many - few)
    in_units = unit * round(estimate / unit)
    return in_units if low < in_units < high else round(estimate)


def _with_lengths(graph: GraphConfig, stride: int, seen: list[tuple[int, int]]) -> GraphConfig:
    """Return a graph with what tells its output's lengths by those of its input, where that can be told."""
    candidates = [WAV2VEC2_SAMPLES] * (graph.layout == "samples") + list(range(1, 4 * stride))
    for receptive in candidates:
        if all((frames - receptive) // stride + 1 == outputs for frames, outputs in seen):
            return replace(graph, receptive=receptive, stride=stride)
    # Utterances run alone then, and all of the output is theirs.
    return graph


def _same_in_batch(
    session: Any, graph: GraphConfig, inputs: list[NDArray[np.floating[Any]]], alone: list[NDArray[np.float32]]
) -> bool:
    try:
        together = replace(graph, normalised=True).run(session, inputs)
    except ModelError:
        return False
    return all(
        len(rows) == len(expected) and bool(np.abs(rows - expected).max() < SAME)
        for rows, expected in zip(together, alone, strict=True)
    )
