"""N-gram language models: read and write ARPA, query with back-off, estimate from text, prune."""

from asr.decoder.ngram.estimate import estimate
from asr.decoder.ngram.model import NGramModel, Perplexity
from asr.decoder.ngram.prune import prune

__all__ = ["NGramModel", "Perplexity", "estimate", "prune"]
