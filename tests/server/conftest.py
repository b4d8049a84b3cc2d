"""A model with random weights that streams, and takes noise for words."""

from pathlib import Path

import pytest

RATE = 8000


@pytest.fixture(scope="session")
def streaming_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write one of two directions, and return its folder."""
    torch = pytest.importorskip("torch", reason="making a bundle needs the [train] extra")
    from asr.bundle.bundle import Bundle
    from asr.bundle.export import write_bundle
    from asr.features import LogMelConfig, mel_filterbank
    from asr.model import AcousticModel
    from asr.model_config import ModelConfig
    from asr.tokenizer import CharTokenizer

    torch.manual_seed(2)
    directory = tmp_path_factory.mktemp("bundles") / "tiny"
    features, tokenizer = LogMelConfig(n_mels=12, sample_rate=RATE), CharTokenizer.from_texts(["one two"])
    config = ModelConfig(normalisation="global", num_layers=2, hidden_size=16, conv_channels=3)
    model = AcousticModel(config, 12, len(tokenizer)).eval()
    model.set_statistics(torch.full((12,), -6.0), torch.full((12,), 2.0))
    with torch.no_grad():
        model.output.weight.mul_(20)
    made = Bundle(directory, "tiny", "for tests", features, mel_filterbank(features), config, tokenizer)
    write_bundle(made, model, "# tiny\n", directory)
    return directory
