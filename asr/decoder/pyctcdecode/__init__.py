"""pyctcdecode's public names, defaults, units and results, on our beam search and without KenLM.

    from asr.decoder.pyctcdecode import build_ctcdecoder

or, for programs that import pyctcdecode themselves (transformers' ``Wav2Vec2ProcessorWithLM``), before they do:

    from asr.decoder import pyctcdecode
    pyctcdecode.install()

Acoustic scores are sums over all alignments of a text's best labelling; pyctcdecode adds up all that write the text.
"""

import importlib.machinery
import importlib.util
import os
import sys
from types import ModuleType

from asr.decoder.ngram import NGramModel
from asr.decoder.ngram.query import LN10
from asr.decoder.pyctcdecode import alphabet, constants, decoder, language_model
from asr.decoder.pyctcdecode.alphabet import Alphabet
from asr.decoder.pyctcdecode.decoder import BeamSearchDecoderCTC, build_ctcdecoder
from asr.decoder.pyctcdecode.language_model import LanguageModel
from asr.errors import UsageError

__all__ = ["Alphabet", "BeamSearchDecoderCTC", "LanguageModel", "build_ctcdecoder", "install"]


def install() -> None:
    """Put this package in the place of ``pyctcdecode`` for the rest of the process.

    Where ``kenlm`` is not installed, a module with its ``Model`` takes its place, too: transformers asks for it.

    Raises
    ------
    UsageError
        If the real pyctcdecode is loaded already, which other modules may hold by then.
    """
    own = sys.modules[__name__]
    loaded = sys.modules.get("pyctcdecode")
    if loaded is not None and loaded is not own:
        raise UsageError(
            f"pyctcdecode is loaded already, from {getattr(loaded, '__file__', 'an unknown place')}: call install() "
            "before anything imports it"
        )
    sys.modules["pyctcdecode"] = own
    for module in (alphabet, constants, decoder, language_model):
        sys.modules[f"pyctcdecode.{module.__name__.rpartition('.')[2]}"] = module
    if "kenlm" not in sys.modules and importlib.util.find_spec("kenlm") is None:
        kenlm = ModuleType("kenlm", "Language models of KenLM's formats, read by ctc-asr.")
        kenlm.__spec__ = importlib.machinery.ModuleSpec("kenlm", loader=None)
        kenlm.Model = kenlm.LanguageModel = Model  # type: ignore[attr-defined]
        sys.modules["kenlm"] = kenlm


class Model:
    """An n-gram model with the names of ``kenlm.Model``; scores are log10.

    Parameters
    ----------
    path
        An ARPA file, KenLM's probing binary, or our binary.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._model = NGramModel.read(path)

    @property
    def order(self) -> int:
        """The length of the longest n-grams."""
        return self._model.order

    def __contains__(self, word: str) -> bool:
        """Tell whether the model lists the word."""
        return word in self._model

    def score(self, sentence: str, bos: bool = True, eos: bool = True) -> float:
        """Return the log10 probability of a sentence."""
        return self._model.score(sentence, bos, eos) / LN10

    def perplexity(self, sentence: str) -> float:
        """Return the perplexity of a sentence and its end."""
        return float(10.0 ** (-self.score(sentence) / (len(sentence.split()) + 1)))
