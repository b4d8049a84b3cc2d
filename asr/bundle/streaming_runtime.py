"""Chunks of streams → log-probabilities, by ONNX Runtime."""

import numpy as np
from numpy.typing import NDArray

from asr.bundle.bundle import STREAMING_GRAPH, WEIGHTS_SHA256, Bundle
from asr.bundle.runtime import session_options
from asr.errors import MissingExtraError, ModelError, UsageError


class OnnxStreamingRuntime:
    """ONNX Runtime on chunks of streams, with their state; see `asr.model.AcousticModel.stream`.

    Parameters
    ----------
    bundle : Bundle
    threads : int
        Threads of the CPU; 0 means as many as ONNX Runtime finds cores.

    Attributes
    ----------
    time_reduction, delay_frames, state_size, n_mels : int
        Feature frames for one output frame, output frames by which log-probs come late, size of a stream's state, and
        mel bands.
    is_bidirectional : bool
        Whether a chunk is given with right context.

    Raises
    ------
    UsageError
        If the model cannot stream.
    ModelError
        If the graph cannot be loaded.
    MissingExtraError
        If the bundle has no graph for streams, and onnx, which builds one, is not installed.
    """

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        if bundle.model is None:
            raise UsageError(
                f"model {bundle.name!r} cannot stream: as a converted model it recognises whole utterances; expected "
                "one that a recipe made, or asr transcribe without --streaming"
            )
        config = bundle.described()
        if config.why_not_streaming:
            raise UsageError(f"model {bundle.name!r} cannot stream: {config.why_not_streaming}")
        self.time_reduction, self.delay_frames = config.time_reduction, config.lookahead_frames
        self.is_bidirectional, self.n_mels = config.bidirectional, bundle.front_end.width
        self.state_size = sum(config.state_sizes(self.n_mels))
        path = bundle.directory / STREAMING_GRAPH
        if path.is_file():
            bundle.check_weights()
        graph = str(path) if path.is_file() else _build(bundle)
        options = session_options(threads)
        from onnxruntime import InferenceSession

        try:
            self._session = InferenceSession(graph, options, ["CPUExecutionProvider"])
            made_of = self._session.get_modelmeta().custom_metadata_map.get(WEIGHTS_SHA256, bundle.weights_sha256)
        except Exception as error:  # ONNX Runtime's exceptions share no base class.
            raise ModelError(f"{path}: cannot be loaded ({error}); export or install the bundle again") from None
        if made_of != bundle.weights_sha256:
            raise ModelError(f"{path}: belongs to another model; export or install the bundle again")

    def __call__(
        self, features: NDArray[np.float32], lengths: NDArray[np.int64], state: NDArray[np.float32], context: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run a chunk of each stream.

        Parameters
        ----------
        features : ndarray, shape (B, T, F), float32
        lengths : ndarray, shape (B,), int64
        state : ndarray, shape (B, S), float32
        context : int
            Output frames of right context: of two directions at least 1, of one 0.

        Returns
        -------
        log_probs : ndarray, shape (B, T' - context, V), float32
        state : ndarray, shape (B, S), float32
        """
        inputs = {"features": features, "lengths": lengths, "state": state}
        if self.is_bidirectional:
            inputs["context"] = np.array([context])
        log_probs, after = self._session.run(None, inputs)
        return log_probs, after


def _build(bundle: Bundle) -> bytes:
    try:
        from asr.bundle.streaming_graph import build_streaming_onnx
    except ImportError as error:
        lacking = f"{bundle.directory}: has no graph for streams; building one"
        raise MissingExtraError(error.name or "onnx", "train", lacking) from None
    weights = {name: value.astype(np.float32) for name, value in bundle.weights().items()}
    return bytes(build_streaming_onnx(weights, bundle.described(), bundle.front_end.width).SerializeToString())
