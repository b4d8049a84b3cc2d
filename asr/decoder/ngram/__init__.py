"""N-gram language models: read and write ARPA, query with back-off, estimate from text, prune."""

from asr.decoder.ngram.model import NGramModel, Perplexity

__all__ = ["NGramModel", "Perplexity"]
