"""N-gram language models: read and write ARPA, query with back-off, estimate from text, prune."""

from asr.decoder.ngram.estimation import estimate
from asr.decoder.ngram.model import NGramModel, Perplexity
from asr.decoder.ngram.pruning import prune

__all__ = ["NGramModel", "Perplexity", "estimate", "prune"]
