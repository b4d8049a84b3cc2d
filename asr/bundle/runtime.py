"""Features → log-probabilities: by ONNX Runtime, or by torch on a GPU."""

import os
import shlex
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, cast, get_args

import numpy as np
from numpy.typing import NDArray

from asr.bundle.bundle import GRAPHS, WEIGHTS, WEIGHTS_SHA256, Bundle, Precision
from asr.bundle.graph_config import pad
from asr.bundle.shipped import SHIPPED
from asr.cores import num_cores
from asr.errors import MissingExtraError, ModelError, UsageError, did_you_mean
from asr.fbank import FbankConfig

Features = NDArray[np.floating[Any]]
LogProbs = NDArray[np.float32]


class Runtime(Protocol):
    """Turns features into log-probabilities. Several threads may call it at a time.

    Attributes
    ----------
    name : str
        A description for people: "ONNX Runtime 1.22, int8, on the CPU".
    batches : bool
        Whether utterances given together run as a batch, so that similar lengths pay off; otherwise
        each runs by itself. The values of an utterance are the same either way.
    """

    name: str
    batches: bool

    def __call__(self, features: Sequence[Features]) -> list[LogProbs]:
        """Return natural log-probabilities ``(T', V)`` for each utterance's features ``(T, F)``."""
        ...


class OnnxRuntime:
    """ONNX Runtime; on the CPU the default.

    Parameters
    ----------
    bundle : Bundle
    threads : int
        Threads of the CPU; 0 means as many as ONNX Runtime finds cores. In float32 they share an operator's work; in
        int8, where that gains nothing, and where utterances run alone, the utterances of a call.
    precision : {"float32", "int8"}
        int8 is for LSTMs, and for bundles that have the graph for it.
    device : str
        "cpu"; or "cuda", "cuda:1", … with onnxruntime-gpu.

    Raises
    ------
    ModelError
        If a graph is missing, cannot be loaded, or is another model's.
    UsageError
        If the device or the precision is not available.
    """

    def __init__(self, bundle: Bundle, threads: int = 0, precision: Precision = "float32", device: str = "cpu") -> None:
        self._path = _graph_path(bundle, precision)
        # The scales of int8 are taken over the whole input: together, an utterance's values would depend on others.
        # Networks that were trained elsewhere are seldom recurrent: on the CPU, padding costs them more than they gain.
        is_own = bundle.model is not None
        self.batches = precision == "float32" and bundle.graph.batches and (is_own or device != "cpu")
        self._graph, features = bundle.graph, bundle.features
        frame = features.frame_samples if isinstance(features, FbankConfig) else 1
        self._frame_seconds = frame / features.sample_rate
        self._workers = 1 if self.batches else threads or num_cores()
        self._session = open_session(self._path, 1 if precision == "int8" else threads, device, keeps_memory=not is_own)
        self._check(bundle)
        self.name = f"ONNX Runtime {_onnxruntime().__version__}, {precision}, on {_place(device)}"

    def __call__(self, features: Sequence[Features]) -> list[LogProbs]:
        """Return log-probabilities; see `Runtime`."""
        if not features:
            return []
        if self.batches:
            return self._run(features)
        if self._workers == 1 or len(features) == 1:
            return [self._run([x])[0] for x in features]
        with ThreadPoolExecutor(min(self._workers, len(features)), thread_name_prefix="network") as pool:
            return list(pool.map(lambda x: self._run([x])[0], features))

    def _run(self, features: Sequence[Features]) -> list[LogProbs]:
        limit = self._graph.max_seconds
        seconds = max(map(len, features)) * self._frame_seconds
        # The last frame of a piece may lie across its end.
        if limit and seconds > limit + self._frame_seconds:
            raise ModelError(
                f"an utterance of {seconds:.1f} s; this model takes at most {limit:g} s at once: asr transcribe cuts "
                "longer ones"
            )
        return self._graph.run(self._session, features)

    def _sizes(self) -> tuple[object, object]:
        """Return the values of a frame and the tokens, as far as the graph states them."""
        inputs = {value.name: value.shape for value in self._session.get_inputs()}
        outputs = {value.name: value.shape for value in self._session.get_outputs()}
        graph = self._graph
        missing = [name for name in (graph.features, graph.lengths) if name and name not in inputs]
        missing += [name for name in (graph.log_probs, graph.output_lengths) if name and name not in outputs]
        if missing:
            raise ModelError(
                f"{self._path}: has no {', '.join(missing)}, which config.json names; export or install the bundle "
                "again"
            )
        shape = inputs[graph.features]
        return {"frames": shape[-1], "bands": shape[1], "samples": 1}[graph.layout], outputs[graph.log_probs][-1]

    def _check(self, bundle: Bundle) -> None:
        """Refuse a graph that is not that of the bundle's configuration, tokens and weights."""
        got = [*self._sizes()]
        expected = [bundle.front_end.width, len(bundle.tokenizer)]
        # Of other toolkits' graphs, sizes may be names or absent: they were tried when they were converted.
        if any(isinstance(size, int) and size != wanted for size, wanted in zip(got, expected, strict=True)):
            raise ModelError(
                f"{self._path}: takes {got[0]} values per frame and gives {got[1]} tokens; config.json and tokens.json "
                f"say {expected[0]} and {expected[1]}: export or install the bundle again"
            )
        bundle.check_weights()
        made_of = self._session.get_modelmeta().custom_metadata_map.get(WEIGHTS_SHA256, "")
        if made_of and bundle.weights_sha256 and made_of != bundle.weights_sha256:
            raise ModelError(
                f"{self._path}: belongs to another model: it was made from the weights {made_of[:12]}…, config.json "
                f"names {bundle.weights_sha256[:12]}…; export or install the bundle again"
            )


class TorchRuntime:
    """torch on a device of its own; needs the [train] extra.

    Parameters
    ----------
    bundle : Bundle
    device : str
        "cuda", "cuda:1", "cpu", …

    Raises
    ------
    MissingExtraError
        If torch is not installed.
    UsageError
        If the device is unknown or not available.
    """

    batches = True
    # Whether TF32 is used is set for the whole process: two calls at once, of any models, would undo each other's.
    _lock = threading.Lock()

    def __init__(self, bundle: Bundle, device: str) -> None:
        try:
            import torch
        except ImportError:
            raise MissingExtraError("torch", "train", f"device {device!r}") from None
        from asr.model import AcousticModel

        network = bundle.network
        bundle.check_weights()
        try:
            self._device = torch.device(device)
            model = AcousticModel(network, bundle.front_end.width, len(bundle.tokenizer)).to(self._device)
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f"device {device!r} cannot be used ({error}); expected cpu, cuda or cuda:N") from None
        try:
            weights = {name: torch.from_numpy(value).float() for name, value in bundle.weights().items()}
            model.load_state_dict({name: value for name, value in weights.items() if name not in bundle.statistics})
        except RuntimeError as error:
            path = bundle.directory / WEIGHTS
            raise ModelError(f"{path}: cannot be loaded ({error}); export or install the bundle again") from None
        self._model = model.eval()
        self.name = f"torch {torch.__version__}, float32, on {_place(device)}"

    def __call__(self, features: Sequence[Features]) -> list[LogProbs]:
        """Return log-probabilities; see `Runtime`."""
        import torch

        from asr.model import exact_float32

        if not features:
            return []
        padded, lengths = pad(features)
        # TF32 would be off by more than ONNX Runtime is.
        with self._lock, torch.inference_mode(), exact_float32():
            log_probs, output_lengths = self._model(
                torch.from_numpy(padded).to(self._device), torch.from_numpy(lengths).to(self._device)
            )
        rows = zip(log_probs.cpu().numpy(), output_lengths.tolist(), strict=True)
        return [row[:length] for row, length in rows]


def make_runtime(
    bundle: Bundle, device: str = "cpu", threads: int = 0, precision: str = "float32"
) -> OnnxRuntime | TorchRuntime:
    """Return ONNX Runtime for "cpu", and for "cuda" torch, or onnxruntime-gpu if that is installed instead.

    Parameters
    ----------
    bundle : Bundle
    device : str
        "cpu", "cuda", "cuda:1", …
    threads : int
        Threads of the CPU; 0 means as many as there are cores.
    precision : {"float32", "int8"}
        int8 runs only on the CPU.

    Raises
    ------
    UsageError
        If the precision is unknown, or not available for this model and device; or if `threads`, which are for the
        CPU, are given for another device.
    """
    checked = check_precision(bundle, precision)
    if threads < 0:
        raise UsageError(f"threads is {threads}; expected 0 (one per core) or more")
    if device == "cpu":
        return OnnxRuntime(bundle, threads, checked)
    if threads:
        raise UsageError(f"threads ({threads}) are for the device cpu; got device {device!r}: leave them out")
    if precision != "float32":
        raise UsageError(f"precision {precision} is for the device cpu; got device {device!r}: leave one of them out")
    if device.startswith("cuda") and not _torch_has_cuda() and _onnxruntime_has_cuda():
        return OnnxRuntime(bundle, device=device)
    return TorchRuntime(bundle, device)


def check_precision(bundle: Bundle, precision: str) -> Precision:
    """Return `precision`; refuse one that is unknown, or not available for this kind of model.

    Raises
    ------
    UsageError
    """
    known = get_args(Precision)
    if precision not in known:
        raise UsageError(f"precision is {precision!r}; expected {' or '.join(known)}{did_you_mean(precision, known)}")
    if precision == "int8" and bundle.model and bundle.model.cell != "lstm":
        raise UsageError(
            f"precision int8 is for LSTMs: ONNX Runtime does not quantise the {bundle.model.cell} of model "
            f"{bundle.name!r}; use float32"
        )
    return cast("Precision", precision)


def _graph_path(bundle: Bundle, precision: Precision) -> Path:
    """Return the file of the graph, which is there."""
    check_precision(bundle, precision)
    path = bundle.directory / GRAPHS[precision]
    if not path.is_file():
        model = bundle.directory.name if bundle.directory.parent == SHIPPED else str(bundle.directory)
        raise ModelError(
            f"{path}: no such file, which precision {precision} needs; make a bundle that has it (with the [train] "
            f"extra) by: asr export {shlex.quote(model)} --format huggingface --precision {precision} --out FOLDER"
        )
    return path


def open_session(path: Path, threads: int = 0, device: str = "cpu", *, keeps_memory: bool = False) -> Any:
    """Return ONNX Runtime's session of a graph; arguments as of `session_options`.

    Raises
    ------
    ModelError
        If the file cannot be loaded.
    UsageError
        If the device cannot be used.
    """
    onnxruntime = _onnxruntime()
    options = session_options(threads, keeps_memory=keeps_memory)
    providers: list[Any] = ["CPUExecutionProvider"]
    if device != "cpu":
        # TF32 would be off by more than the CPU is.
        cuda = {"device_id": _device_index(device), "use_tf32": "0"}
        providers = [("CUDAExecutionProvider", cuda), *providers]
        if hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions share no base class.
        raise ModelError(f"{path}: cannot be loaded ({error}); export or install the bundle again") from None
    if device != "cpu" and "CUDAExecutionProvider" not in session.get_providers():
        raise UsageError(
            f"device {device!r} cannot be used: onnxruntime-gpu {onnxruntime.__version__} finds no such GPU, or "
            "lacks the CUDA and cuDNN it was built for; install those, or use the device cpu"
        )
    return session


def session_options(threads: int, *, keeps_memory: bool = False) -> Any:
    """Return ONNX Runtime's options for a session with so many threads.

    Parameters
    ----------
    threads : int
    keeps_memory : bool
        Whether what the longest input has needed is kept until the session ends. That is worth it where inputs are
        of a bounded length: getting pages from the system anew took a third of the time of a small FastConformer.
    """
    options = _onnxruntime().SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # A pattern would keep what each shape needed.
    options.enable_cpu_mem_arena = keeps_memory
    options.enable_mem_pattern = False
    # Without VNNI, products of int8 weights overflow 16 bits and are wrong, unless they are made unsigned on loading.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def _onnxruntime() -> Any:
    # Newer builds of ONNX Runtime report on their use, and keep a device's id, unless told not to.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def _onnxruntime_has_cuda() -> bool:
    return "CUDAExecutionProvider" in _onnxruntime().get_available_providers()


def _torch_has_cuda() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def _device_index(device: str) -> int:
    index = device.removeprefix("cuda").removeprefix(":")
    if device != "cuda" and not (device.startswith("cuda:") and index.isdecimal()):
        raise UsageError(f"device {device!r} cannot be used; expected cpu, cuda or cuda:N")
    return int(index or 0)


def _place(device: str) -> str:
    return "the CPU" if device == "cpu" else device
