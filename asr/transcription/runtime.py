"""Features → log-probabilities: by ONNX Runtime, or by torch where a GPU is asked for."""

import os
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from asr.errors import MissingExtraError, ModelError, UsageError
from asr.transcription.bundle import Bundle


class Runtime(Protocol):
    """What turns features into log-probabilities."""

    def __call__(self, features: Sequence[NDArray[np.floating[Any]]]) -> list[NDArray[np.float32]]:
        """Return natural log-probabilities ``(T', V)`` for each utterance's features ``(T, F)``."""
        ...


class OnnxRuntime:
    """ONNX Runtime on the CPU; the default.

    Parameters
    ----------
    bundle : Bundle
    threads : int
        Threads within an operator; 0 leaves the number to ONNX Runtime.

    Raises
    ------
    ModelError
        If the graph cannot be loaded.
    """

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        # Newer builds of ONNX Runtime report on their use, and keep a device's id, unless told not to.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        path = bundle.directory / "model.onnx"
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no base class.
            raise ModelError(f"{path}: cannot be loaded ({error}); export or install the bundle again") from None
        got = [self._session.get_inputs()[0].shape[-1], self._session.get_outputs()[0].shape[-1]]
        expected = [bundle.features.n_mels, len(bundle.tokenizer)]
        if got != expected:
            raise ModelError(
                f"{path}: takes {got[0]} mel bands and gives {got[1]} tokens; config.json and tokens.json say "
                f"{expected[0]} and {expected[1]}: export or install the bundle again"
            )

    def __call__(self, features: Sequence[NDArray[np.floating[Any]]]) -> list[NDArray[np.float32]]:
        """Return log-probabilities; see `Runtime`."""
        padded, lengths = pad(features)
        log_probs, output_lengths = self._session.run(None, {"features": padded, "lengths": lengths})
        return [row[:length] for row, length in zip(log_probs, output_lengths, strict=True)]


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

    def __init__(self, bundle: Bundle, device: str) -> None:
        try:
            import torch
        except ImportError:
            raise MissingExtraError("torch", "train", f"device {device!r}") from None
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from asr.model import AcousticModel

        try:
            self._device = torch.device(device)
            model = AcousticModel(bundle.model, bundle.features.n_mels, len(bundle.tokenizer)).to(self._device)
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f"device {device!r} cannot be used ({error}); expected cpu, cuda or cuda:N") from None
        path = bundle.directory / "model.safetensors"
        try:
            model.load_state_dict({name: value.float() for name, value in load_file(path).items()})
        except (SafetensorError, RuntimeError) as error:
            raise ModelError(f"{path}: cannot be loaded ({error}); export or install the bundle again") from None
        self._model = model.eval()

    def __call__(self, features: Sequence[NDArray[np.floating[Any]]]) -> list[NDArray[np.float32]]:
        """Return log-probabilities; see `Runtime`."""
        import torch

        padded, lengths = pad(features)
        # TF32 would be off by more than ONNX Runtime is.
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            log_probs, output_lengths = self._model(
                torch.from_numpy(padded).to(self._device), torch.from_numpy(lengths).to(self._device)
            )
        rows = zip(log_probs.cpu().numpy(), output_lengths.tolist(), strict=True)
        return [row[:length] for row, length in rows]


def make_runtime(bundle: Bundle, device: str = "cpu", threads: int = 0) -> Runtime:
    """Return ONNX Runtime for "cpu", torch for any other `device`.

    Raises
    ------
    UsageError
        If `threads`, which are the CPU's, are given for another device.
    """
    if device == "cpu":
        return OnnxRuntime(bundle, threads)
    if threads:
        raise UsageError(f"threads ({threads}) are for the device cpu; got device {device!r}: leave them out")
    return TorchRuntime(bundle, device)


def pad(features: Sequence[NDArray[np.floating[Any]]]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return features as one array ``(B, T, F)`` float32, padded with zeros, and lengths ``(B,)`` int64."""
    lengths = np.array([len(x) for x in features], dtype=np.int64)
    padded = np.zeros((len(features), lengths.max(), features[0].shape[1]), dtype=np.float32)
    for row, x in enumerate(features):
        padded[row, : len(x)] = x
    return padded, lengths
