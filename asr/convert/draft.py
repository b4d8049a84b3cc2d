"""What a converted model will be, before its files are written."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from asr.bundle.bundle import GRAPHS, Bundle
from asr.bundle.card import model_card
from asr.bundle.front_end import WaveformConfig
from asr.bundle.graph_config import GraphConfig
from asr.bundle.publish import check_free
from asr.bundle.runtime import OnnxRuntime
from asr.convert.language_model import put_language_model
from asr.fbank import FbankConfig
from asr.files import atomic_directory, link_or_copy, write_text
from asr.tokenizer import BLANK_TOKEN, LabelTokenizer, with_blank_first

# Codes of the languages whose I is lowered to ı.
TURKISH = ("tr", "tur", "az", "aze")


@dataclass(frozen=True)
class Facts:
    """What the files of a model do not say, or say in ways of their own.

    Parameters
    ----------
    name, licence, language, origin : str
    max_seconds : float
        The longest utterance that the network takes; 0: as its files say, or any.
    """

    name: str
    licence: str
    language: str
    origin: str
    max_seconds: float = 0.0


@dataclass(frozen=True)
class Draft:
    """A bundle to be written.

    Parameters
    ----------
    description : str
    features : WaveformConfig or FbankConfig
    graph : GraphConfig
    tokens : list of str
        In the order of the graph's columns.
    blank : int
        The index of the blank, which may be another than the graph's own after its columns have been moved.
    frame_seconds : float
    path : Path
        The graph; the files of `GraphConfig.data_files` lie beside it.
    int8 : Path or None
        The same graph quantised.
    """

    description: str
    features: WaveformConfig | FbankConfig
    graph: GraphConfig
    tokens: list[str]
    blank: int
    frame_seconds: float
    path: Path
    int8: Path | None = None

    def write(
        self, out: Path, facts: Facts, *, force: bool, linked: bool = False, language_model: Path | None = None
    ) -> Bundle:
        """Write the bundle, and return it after it has been loaded.

        Parameters
        ----------
        out : Path
        facts : Facts
        force : bool
            Whether a bundle there is replaced.
        linked : bool
            Whether the graph becomes a hard link to the source's, which then nobody changes, and not a copy.
        language_model : Path, optional
            A folder for `put_language_model`.

        Raises
        ------
        UsageError
            If `out` holds something and `force` is not given, or holds something else than a bundle.
        ModelError
            If what was written cannot be loaded.
        DecodingError
            As `put_language_model`.
        """
        check_free(out, force, self.graph.data_files)
        graph = replace(self.graph, max_seconds=facts.max_seconds or self.graph.max_seconds)
        tokenizer = LabelTokenizer(with_blank_first(self.tokens, self.blank, BLANK_TOKEN))
        bundle = Bundle(
            out, facts.name, self.description, self.features, None, None, tokenizer, licence=facts.licence,
            language=facts.language, origin=facts.origin, stated_frame_seconds=self.frame_seconds, graph=graph,
            text_profile="turkish" if facts.language in TURKISH else "words",
        )  # fmt: skip
        with atomic_directory(out) as new:
            if language_model is not None:
                bundle = replace(bundle, decoding=put_language_model(language_model, new))
            copy = link_or_copy if linked else shutil.copyfile
            copy(self.path, new / GRAPHS["float32"])
            if self.int8:
                copy(self.int8, new / GRAPHS["int8"])
            for name in self.graph.data_files:
                copy(self.path.parent / name, new / name)
            for name, text in tokenizer.files().items():
                write_text(new / name, text)
            write_text(new / "config.json", bundle.config_json())
            write_text(new / "README.md", model_card(bundle))
            OnnxRuntime(Bundle.load(new), threads=1)
        return Bundle.load(out)
