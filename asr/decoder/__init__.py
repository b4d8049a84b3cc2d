"""CTC log-probabilities in, hypotheses out: for any CTC model, with NumPy and Numba only.

    labels.py         the model's labels: characters or subwords, the blank, what separates words
    log_probs.py      checks of what goes in
    greedy.py         the best path
    beam.py           prefix beam search; search/kernel.py is the search itself, in a page
    search/fusion.py  what counts beside the acoustics: n-grams (ngram/), lexicon.py, hotwords.py
    streaming.py      the same in chunks, for live audio
    alignment.py      when each word of a known transcript was said

Names are loaded when first used: greedy decoding never imports Numba.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asr.decoder.alignment import Alignment, align
    from asr.decoder.beam import BeamSearchDecoder
    from asr.decoder.greedy import GreedyDecoder
    from asr.decoder.hotwords import Hotwords
    from asr.decoder.hypothesis import Hypothesis, Word
    from asr.decoder.labels import Labels
    from asr.decoder.lexicon import Lexicon
    from asr.decoder.log_probs import log_softmax
    from asr.decoder.ngram import NGramModel
    from asr.decoder.options import BeamOptions
    from asr.decoder.streaming import BeamStream

_MODULES = {
    "Alignment": "alignment",
    "BeamOptions": "options",
    "BeamSearchDecoder": "beam",
    "BeamStream": "streaming",
    "GreedyDecoder": "greedy",
    "Hotwords": "hotwords",
    "Hypothesis": "hypothesis",
    "Labels": "labels",
    "Lexicon": "lexicon",
    "NGramModel": "ngram",
    "Word": "hypothesis",
    "align": "alignment",
    "log_softmax": "log_probs",
}

__all__ = [
    "Alignment",
    "BeamOptions",
    "BeamSearchDecoder",
    "BeamStream",
    "GreedyDecoder",
    "Hotwords",
    "Hypothesis",
    "Labels",
    "Lexicon",
    "NGramModel",
    "Word",
    "align",
    "log_softmax",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
