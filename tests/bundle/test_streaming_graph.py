"""The streaming graph in ONNX Runtime against the model's own `stream`."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("onnx", reason="needs onnx")
import onnxruntime  # noqa: E402

from asr.bundle.graph import build_onnx  # noqa: E402
from asr.bundle.streaming_graph import build_streaming_onnx  # noqa: E402
from asr.errors import UsageError  # noqa: E402
from asr.model import AcousticModel  # noqa: E402
from asr.model_config import ModelConfig  # noqa: E402

F, V = 11, 7


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh", "rnn_relu"])
@pytest.mark.parametrize(("directions", "lookahead", "reduction"), [(1, 0, 4), (1, 3, 8), (2, 0, 4), (2, 0, 8)])
def test_the_graph_gives_what_the_model_gives(cell, directions, lookahead, reduction):
    torch.manual_seed(0)
    config = ModelConfig(
        cell=cell, num_layers=2, hidden_size=5, conv_channels=3, normalisation="global", bidirectional=directions == 2,
        lookahead_frames=lookahead, time_reduction=reduction,
    )  # fmt: skip
    model = AcousticModel(config, F, V).eval()
    model.set_statistics(torch.randn(F), torch.rand(F) + 0.5)
    if model.lookahead is not None:
        torch.nn.init.normal_(model.lookahead.weight)
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    stream = onnxruntime.InferenceSession(build_streaming_onnx(weights, config, F).SerializeToString())
    rng = np.random.default_rng(0)
    T = 6 * reduction
    features = rng.standard_normal((3, T, F)).astype(np.float32)
    lengths = np.array([T, 2 * reduction + 1, T])
    state = rng.standard_normal((3, sum(config.state_sizes(F)))).astype(np.float32)
    context = 2 if directions == 2 else 0
    inputs = {"features": features, "lengths": lengths, "state": state}
    inputs |= {"context": np.array([context])} if context else {}
    log_probs, after = stream.run(None, inputs)
    given = (torch.from_numpy(features), torch.from_numpy(lengths), torch.from_numpy(state))
    with torch.no_grad():
        expected, expected_after = (x.numpy() for x in model.stream(*given, context))
        whole = model(*given[:2])[0].numpy()
    for row, frames in enumerate((6 - context, min(6 - context, 3), 6 - context)):
        np.testing.assert_allclose(log_probs[row, :frames], expected[row, :frames], rtol=0, atol=1e-5)
    # Nothing follows the stream that has ended.
    np.testing.assert_allclose(after[[0, 2]], expected_after[[0, 2]], rtol=0, atol=1e-5)
    session = onnxruntime.InferenceSession(build_onnx(weights, config, F).SerializeToString())
    got = session.run(None, {"features": features, "lengths": lengths})[0]
    for row, frames in enumerate((6, 3, 6)):
        np.testing.assert_allclose(got[row, :frames], whole[row, :frames], rtol=0, atol=1e-5)


def test_models_that_cannot_stream_are_refused():
    with pytest.raises(UsageError, match="over the whole utterance"):
        build_streaming_onnx({}, ModelConfig(normalisation="utterance"), F)
