"""The stage ``tokenizer``: training transcripts → ``<out>/tokenizer``."""

import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from asr.errors import DataError, UsageError
from asr.files import atomic_directory, read_text, write_text
from asr.lexicon import PronouncingDictionary, read_lexicon
from asr.recipe.checks import check_letters, check_origin, check_splits
from asr.recipe.recipe import Run, TokenizerConfig
from asr.recipe.stage_state import SETTINGS, is_current, write_stamp
from asr.settings import digest, to_dict
from asr.store.layout import file_checksum
from asr.tokenizer import TOKENS, CharTokenizer, PhoneTokenizer, SentencePieceTokenizer, Tokenizer, read_tokenizer

if TYPE_CHECKING:
    from asr.store.checking import Store


OUTPUT, MIDDLE = "tokenizer", "intermediate_tokenizer"


def tokenizer(run: Run) -> None:
    """Training transcripts → tokens, which can write most of the dev split too; and those of the middle layer."""
    train, devs = check_splits(run)
    _make_tokenizer(run, OUTPUT, [train, *devs])
    if run.recipe.intermediate_tokenizer.kind != "same":
        _make_tokenizer(run, MIDDLE, [train])


def _make_tokenizer(run: Run, name: str, stores: "list[Store]") -> None:
    """Make ``<out>/<name>`` of the transcripts of the first of `stores`, unless it is there."""
    config: TokenizerConfig = getattr(run.recipe, name)
    origin = check_origin(run)
    texts = transcripts(stores[0], run.recipe.training.max_disagreement)
    stamp = {
        "tokenizer": to_dict(config),
        "texts": digest(texts),
        "init": digest(origin.tokenizer.files()) if origin and config.kind == "init" else "",
    }
    if config.kind == "phones":
        stamp["lexicon"] = [file_checksum(Path(path)) for path in (config.lexicon, config.g2p) if path]
    folder = run.out / name
    if not is_current(run.out, name, stamp, folder / TOKENS):
        made: Tokenizer
        all_texts = [text for store in stores for text in store.texts]
        if config.kind == "init" and origin:
            made = origin.tokenizer
            if isinstance(made, PhoneTokenizer):
                made = PhoneTokenizer(made.tokens, _with_guesses(made.lexicon, run.g2p, all_texts))
        elif config.kind == "phones":
            lexicon = _with_guesses(read_lexicon(config.lexicon), Path(config.g2p) if config.g2p else None, all_texts)
            made = PhoneTokenizer.from_lexicon(lexicon, word_boundary=config.word_boundary)
        elif config.kind == "unigram" or config.kind == "bpe":
            made = SentencePieceTokenizer.from_texts(texts, config.kind, config.vocab_size)
        else:
            made = CharTokenizer.from_texts(texts)
        check_letters(made, stores, run.recipe.training.max_disagreement)
        if (run.out / SETTINGS).is_file() and not _is_same(folder, made, texts):
            raise UsageError(
                f"{folder}: training in {run.out} began with other tokens than those of {run.recipe.train!r} now, "
                "which its weights do not fit: choose another --out, or delete the folder"
            )
        with atomic_directory(folder) as new:
            for file, content in made.files().items():
                write_text(new / file, content)
        write_stamp(run.out, name, stamp)
        print(f"{name.replace('_', ' ')}: {len(made)} tokens ({made.kind})", file=sys.stderr)
    check_letters(_read(run, name, _made_kind(run, config)), stores, run.recipe.training.max_disagreement)


def _is_same(folder: Path, made: Tokenizer, texts: list[str]) -> bool:
    """Return whether the tokenizer in `folder` gives `texts` the same targets as one made anew."""
    if not isinstance(made, PhoneTokenizer):
        return {path.name: read_text(path) for path in folder.glob("*")} == made.files()
    try:
        return targets_digest(read_tokenizer(folder, made.kind), texts) == targets_digest(made, texts)
    except (OSError, ValueError):
        return False


def targets_digest(tokenizer: Tokenizer, texts: Iterable[str]) -> str:
    """Return a digest of the training targets, which further words in a lexicon do not change."""
    if not isinstance(tokenizer, PhoneTokenizer):
        return digest(tokenizer.files())
    words = sorted({word for text in texts for word in text.split()})
    return digest([tokenizer.tokens, {word: tokenizer.encode(word) for word in words}])


def _with_guesses(lexicon: PronouncingDictionary, g2p: Path | None, texts: Iterable[str]) -> PronouncingDictionary:
    """Return a lexicon with guesses of the words of the texts that it lacks, where there is a model for them."""
    if g2p is None:
        return lexicon
    from asr.lexicon.g2p import G2P, extend

    lexicon, added, _ = extend(lexicon, (word for text in texts for word in text.split()), G2P.read(g2p))
    if added:
        print(
            f"tokenizer: guessed the phones of {len(added)} words of the transcripts that the lexicon lacks: "
            f"{', '.join(added[:10])}{', …' if len(added) > 10 else ''}",
            file=sys.stderr,
        )
    return lexicon


def transcripts(store: "Store", max_disagreement: float | None = None) -> list[str]:
    """Return the transcripts of a store, those of its speed-perturbed copies and of too large disagreement left out.

    With copies, nothing would occur just once, but language models are estimated from such counts.
    """
    limit = math.inf if max_disagreement is None else max_disagreement
    texts = []
    for part in store.parts:
        copies = tuple(f"sp{speed:g}-" for speed in part.header.speeds)
        rows = zip(part.ids, part.texts, (part.disagreements <= limit).tolist(), strict=True)
        texts += [text for name, text, agreed in rows if agreed and not name.startswith(copies)]
    return texts


def load_tokenizer(run: Run) -> Tokenizer:
    """Return the tokenizer that the stage made.

    Raises
    ------
    DataError
        If it does not exist.
    """
    return _read(run, OUTPUT, _made_kind(run, run.recipe.tokenizer))


def load_intermediate_tokenizer(run: Run) -> Tokenizer | None:
    """Return that of the middle layer; None where it is the same. Raises as `load_tokenizer`."""
    kind = run.recipe.intermediate_tokenizer.kind
    return None if kind == "same" else _read(run, MIDDLE, kind)


def _made_kind(run: Run, config: TokenizerConfig) -> str:
    """Return the kind of a tokenizer that was made as `config` says."""
    return run.origin.tokenizer.kind if config.kind == "init" and run.origin else config.kind


def _read(run: Run, name: str, kind: str) -> Tokenizer:
    try:
        return read_tokenizer(run.out / name, kind)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{run.out / name}: holds no tokens of kind {kind!r} ({error}); run the stage tokenizer first"
        ) from None
