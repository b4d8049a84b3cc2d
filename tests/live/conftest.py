"""Small models that stream, with random weights that take noise for speech."""

import pytest

from asr.features import LogMelConfig, mel_filterbank
from asr.tokenizer import CharTokenizer

RATE = 8000
FEATURES = LogMelConfig(n_mels=12, sample_rate=RATE)
TOKENIZER = CharTokenizer.from_texts(["one two"])
# No space among them: each is a word.
CHARACTERS = CharTokenizer.from_texts(["我们去北京"])


def make_bundle(directory, *, quiet=False, tokenizer=TOKENIZER, **options):
    """Return a bundle; of a quiet one the blank is so likely that nothing is ever said."""
    torch = pytest.importorskip("torch", reason="making a bundle needs the [train] extra")
    from asr.bundle.bundle import Bundle
    from asr.bundle.export import write_bundle
    from asr.model import AcousticModel
    from asr.model_config import ModelConfig

    torch.manual_seed(2)
    options = {"normalisation": "global", "num_layers": 2, "hidden_size": 16, "conv_channels": 3, **options}
    config = ModelConfig(**options)
    model = AcousticModel(config, FEATURES.n_mels, len(tokenizer)).eval()
    model.set_statistics(torch.full((12,), -6.0), torch.full((12,), 2.0))
    with torch.no_grad():
        model.output.weight.mul_(20)
        if quiet:
            model.output.bias[0] = 1000.0
    bundle = Bundle(directory, "tiny", "for tests", FEATURES, mel_filterbank(FEATURES), config, tokenizer)
    return write_bundle(bundle, model, "# tiny\n", directory)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    """One direction, the same with look-ahead, two directions; of characters without spaces; one that hears nothing."""
    folder = tmp_path_factory.mktemp("bundles")
    return {
        "one": make_bundle(folder / "one", bidirectional=False),
        "ahead": make_bundle(folder / "ahead", bidirectional=False, lookahead_frames=3),
        "two": make_bundle(folder / "two"),
        "characters": make_bundle(folder / "characters", tokenizer=CHARACTERS, bidirectional=False),
        "quiet": make_bundle(folder / "quiet", quiet=True, bidirectional=False),
        "whole": make_bundle(folder / "whole", normalisation="utterance"),
    }
