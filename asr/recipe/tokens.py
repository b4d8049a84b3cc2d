"""The stage ``tokenizer``: training transcripts → ``<out>/tokenizer``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from asr.errors import DataError, UsageError
from asr.files import atomic_directory, write_text
from asr.recipe.checks import check_letters, check_origin, check_splits
from asr.recipe.recipe import Run
from asr.recipe.stage_state import SETTINGS, is_current, write_stamp
from asr.settings import digest, to_dict
from asr.tokenizer import TOKENS, CharTokenizer, SentencePieceTokenizer, Tokenizer, read_tokenizer

if TYPE_CHECKING:
    from asr.store.checking import Store


def tokenizer(run: Run) -> None:
    """Training transcripts → tokens, which can write those of the dev split too."""
    config = run.recipe.tokenizer
    origin = check_origin(run)
    stores = check_splits(run)
    texts = transcripts(stores[0])
    stamp = {
        "tokenizer": to_dict(config),
        "texts": digest(texts),
        "init": digest(origin.tokenizer.files()) if origin and config.kind == "init" else "",
    }
    folder = run.out / "tokenizer"
    if not is_current(run.out, "tokenizer", stamp, folder / TOKENS):
        made: Tokenizer
        if config.kind == "init" and origin:
            made = origin.tokenizer
        elif config.kind == "unigram" or config.kind == "bpe":
            made = SentencePieceTokenizer.from_texts(texts, config.kind, config.vocab_size)
        else:
            made = CharTokenizer.from_texts(texts)
        if (run.out / SETTINGS).is_file() and _content(folder) != made.files():
            raise UsageError(
                f"{folder}: training in {run.out} began with other tokens than the transcripts of {run.recipe.train!r} "
                "now give, and its weights do not fit them: choose another --out, or delete the folder"
            )
        with atomic_directory(folder) as new:
            for name, content in made.files().items():
                write_text(new / name, content)
        write_stamp(run.out, "tokenizer", stamp)
        print(f"tokenizer: {len(made)} tokens ({made.kind})", file=sys.stderr)
    check_letters(load_tokenizer(run), stores)


def _content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*")}


def transcripts(store: "Store") -> list[str]:
    """Return the transcripts of a store, those of its speed-perturbed copies left out.

    With them nothing would occur once, and how often something does is what language models are estimated from.
    """
    copies = tuple(f"sp{speed:g}-" for speed in store.header["speeds"])
    return [text for name, text in zip(store.ids, store.texts, strict=True) if not name.startswith(copies)]


def load_tokenizer(run: Run) -> Tokenizer:
    """Return the tokenizer that the stage has made.

    Raises
    ------
    DataError
        If there is none.
    """
    kind = (
        run.origin.tokenizer.kind if run.recipe.tokenizer.kind == "init" and run.origin else run.recipe.tokenizer.kind
    )
    try:
        return read_tokenizer(run.out / "tokenizer", kind)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{run.out / 'tokenizer'}: holds no tokens of kind {kind!r} ({error}); run the stage tokenizer first"
        ) from None
