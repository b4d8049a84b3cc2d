"""N-gram language models: read and write ARPA, query with back-off, estimate from text, mix, prune."""

from asr.decoder.ngram.estimation import estimate
from asr.decoder.ngram.interpolation import MixtureWeights, interpolate, mixture_weights
from asr.decoder.ngram.model import NGramModel, Perplexity, copy_as_binary
from asr.decoder.ngram.pruning import prune, restrict

__all__ = [
    "MixtureWeights", "NGramModel", "Perplexity", "copy_as_binary", "estimate", "interpolate", "mixture_weights",
    "prune", "restrict",
]  # fmt: skip
