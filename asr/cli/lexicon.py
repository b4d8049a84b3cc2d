"""``asr lexicon``: build, check and extend lexicons of pronunciations."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    from asr.lexicon import PronouncingDictionary
    from asr.text import TextProfile

lexicon_app = typer.Typer(
    help="Build, check and extend lexicons: words and their phones.", no_args_is_help=True, rich_markup_mode=None
)

SOURCE_HELP = "A lexicon: a file, an address, or cmudict, which is downloaded (American English, 126,000 words)."
LEXICON_HELP = "A lexicon, one word and its phones per line, such as those of CMUdict, Kaldi and flashlight."
TEXT_HELP = "Normalised text, one sentence or word per line; plain or packed; - for the standard input."
G2P_HELP = "A pronunciation model, as asr lexicon train writes it."
OUT_HELP = "Where to write the lexicon; compressed if it ends in .gz."
PROFILE_HELP = "Leave out words in which this text profile changes more than letter case: english, verbatim."


@lexicon_app.command()
def build(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE", help=SOURCE_HELP)],
    out: Annotated[Path, typer.Option(help=OUT_HELP)],
    profile: Annotated[str, typer.Option(help=PROFILE_HELP)] = "verbatim",
    words: Annotated[Path | None, typer.Option(help="Keep only the words in this file, one per line.")] = None,
    keep_stress: Annotated[bool, typer.Option("--keep-stress", help="Keep CMUdict's stress: AH0, not AH.")] = False,
) -> None:
    """Join lexicons into one, with the first source's pronunciations first, in the letter case of the transcripts."""
    from asr.lexicon import PronouncingDictionary, write_lexicon
    from asr.lexicon.sources import fit_words, open_lexicon

    chosen = find_profile(profile)
    entries = [entry for source in sources for entry in open_lexicon(source).entries()]
    lexicon, left_out = fit_words(PronouncingDictionary(entries), chosen)
    lexicon = lexicon if keep_stress else lexicon.without_stress()
    if words is not None:
        lexicon = only_words(lexicon, words)
    write_lexicon(lexicon, out)
    if left_out:
        print(
            f"asr: left out {len(left_out):,} words that do not fit profile {profile}{shown(left_out)}",
            file=sys.stderr,
        )
    say_what(lexicon, out)


def only_words(lexicon: "PronouncingDictionary", words: Path) -> "PronouncingDictionary":
    """Return what a lexicon has of the words of a list.

    Raises
    ------
    DataError
        If that is nothing.
    """
    from asr.decoder.ngram.text import read_sentences

    wanted = {word for line in read_sentences([words]) for word in line.split()}
    if not wanted.intersection(lexicon):
        raise DataError(f"{words}: none of its {len(wanted):,} words is in the lexicon; expected one word per line")
    return lexicon.only(wanted)


@lexicon_app.command()
def check(
    lexicon: Annotated[Path, typer.Argument(help=LEXICON_HELP)],
    text: Annotated[list[Path] | None, typer.Option(help=TEXT_HELP + " Repeatable.")] = None,
    lm: Annotated[Path | None, typer.Option(help="An n-gram model whose words the lexicon should cover.")] = None,
    model: Annotated[str, typer.Option(help="A phone model that must have all of the lexicon's phones.")] = "",
) -> None:
    """Print a lexicon's size, possible mistakes in it, and what it lacks."""
    from asr.lexicon import read_lexicon
    from asr.lexicon.checking import describe, missing_from_lm, missing_from_text

    known = read_lexicon(lexicon)
    print("\n".join(describe(known)))
    if text:
        from asr.decoder.ngram.text import read_sentences

        print(missing_from_text(known, read_sentences(text)))
    if lm is not None:
        from asr.decoder.ngram import NGramModel

        lacking = missing_from_lm(known, NGramModel.read(lm).words)
        print(lacking or "all words of the language model are in the lexicon")
    if model:
        from asr.convert.opening import open_bundle
        from asr.transcription.pronouncing import phones_of

        known.check_phones(phones_of(open_bundle(model)).phones, f"model {model}")
        print(f"all phones are among those of model {model}")


@lexicon_app.command()
def train(
    lexicon: Annotated[Path, typer.Argument(help=LEXICON_HELP)],
    out: Annotated[Path, typer.Option(help="Where to write the pronunciation model: g2p.npz.")],
    order: Annotated[int, typer.Option(min=2, help="Length of the longest n-grams of letters with phones.")] = 7,
) -> None:
    """Learn from a lexicon to guess the pronunciation of other words (joint n-grams; Bisani & Ney 2008)."""
    from asr.lexicon import G2P, read_lexicon

    model = G2P.train(read_lexicon(lexicon), order)
    model.write(out)
    print(
        f"asr: {out}: {len(model.letters)} letters, {len(model.phones)} phones, {sum(model.lm.counts):,} n-grams, "
        f"{out.stat().st_size / 1e6:.1f} MB",
        file=sys.stderr,
    )


@lexicon_app.command()
def extend(
    lexicon: Annotated[Path, typer.Argument(help=LEXICON_HELP)],
    texts: Annotated[list[Path], typer.Argument(metavar="TEXT", help=TEXT_HELP)],
    g2p: Annotated[Path, typer.Option(help=G2P_HELP)],
    out: Annotated[Path, typer.Option(help=OUT_HELP)],
    at_least: Annotated[int, typer.Option(min=1, help="Drop words that occur less often.")] = 1,
    nbest: Annotated[int, typer.Option(min=1, help="Pronunciations per word, at most.")] = 1,
) -> None:
    """Add the words of a text (or a list of words) that a lexicon lacks, with guesses by a pronunciation model."""
    from collections import Counter

    from asr.decoder.ngram.text import read_sentences
    from asr.lexicon import G2P, read_lexicon, write_lexicon
    from asr.lexicon.g2p import extend

    known, model = read_lexicon(lexicon), G2P.read(g2p)
    counts = Counter(word for sentence in read_sentences(texts) for word in sentence.split())
    wanted = [word for word, count in counts.most_common() if count >= at_least]
    extended, added, left_out = extend(known, wanted, model, nbest)
    write_lexicon(extended, out)
    print(f"asr: added {len(added):,} words{shown(added)}", file=sys.stderr)
    if left_out:
        print(
            f"asr: left out {len(left_out):,} words with letters, digits or symbols that {g2p} has not learned"
            f"{shown(left_out)}",
            file=sys.stderr,
        )
    say_what(extended, out)


@lexicon_app.command()
def prefer(
    stores: Annotated[list[Path], typer.Argument(metavar="STORE", help="Prepared stores: data/an4/train.")],
    model: Annotated[str, typer.Option(help="A model of phones: a bundle's directory, or a name.")],
    out: Annotated[Path, typer.Option(help=OUT_HELP)],
    lexicon: Annotated[Path | None, typer.Option(help="Lexicon of alternatives; by default the model's own.")] = None,
    device: Annotated[str, typer.Option(help='"cpu" (ONNX Runtime), or "cuda" (torch).')] = "cpu",
) -> None:
    """Weigh each word's pronunciations by how often a model hears them in transcribed speech (forced alignment).

    A recipe trained with the new lexicon uses each word's pronunciation with the highest weight.
    """
    from collections import Counter

    from asr.bundle.runtime import make_runtime
    from asr.convert.opening import open_bundle
    from asr.evaluation.tune_lexicon import count_pronunciations, weigh
    from asr.lexicon import read_lexicon, write_lexicon
    from asr.store.store import open_store
    from asr.transcription.pronouncing import phones_of

    bundle = open_bundle(model)
    known = read_lexicon(lexicon) if lexicon else phones_of(bundle).lexicon
    runtime = make_runtime(bundle, device, 0, "float32")
    counts: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for store in stores:
        found, left_out = count_pronunciations(open_store(store), bundle, runtime, known)
        counts += found
        if left_out:
            print(f"asr: left out {left_out} utterances of {store} that cannot be aligned", file=sys.stderr)
    weighed = weigh(known, counts)
    changed = [word for word in known if known.preferred(word) != weighed.preferred(word)]
    write_lexicon(weighed, out)
    print(f"asr: {len(changed):,} words have another preferred pronunciation{shown(changed)}", file=sys.stderr)
    say_what(weighed, out)


@lexicon_app.command()
def pronounce(
    words: Annotated[list[str], typer.Argument(metavar="WORD", help="Words; - reads them from the standard input.")],
    lexicon: Annotated[Path | None, typer.Option(help=LEXICON_HELP)] = None,
    g2p: Annotated[Path | None, typer.Option(help=G2P_HELP)] = None,
    nbest: Annotated[int, typer.Option(min=1, help="Guesses per word, at most.")] = 1,
) -> None:
    """Print how words are pronounced: from the lexicon, or guessed by the pronunciation model.

    Prints one line per pronunciation: word, its probability or weight, phones; separated by tabs.
    """
    import math

    from asr.lexicon import G2P, read_lexicon

    if lexicon is None and g2p is None:
        raise UsageError("no source of pronunciations: give --lexicon, --g2p, or both")
    known = read_lexicon(lexicon) if lexicon else {}
    model = G2P.read(g2p) if g2p else None
    for word in words if words != ["-"] else sys.stdin.read().split():
        if word in known:
            found = list(known[word])
        elif model:
            found = model.pronounce(word, nbest)
            if not found:
                raise DataError(f"{g2p} guesses that {word!r} has no sound; add it to a lexicon with its phones")
        else:
            raise DataError(f"{lexicon} does not list {word!r}; give --g2p, a model that guesses (asr lexicon train)")
        for said in found:
            print(f"{word}\t{math.exp(said.log_weight):.4f}\t{' '.join(said.phones)}")


def shown(words: list[str]) -> str:
    """Return the first ten words for a message."""
    return f": {', '.join(words[:10])}{', …' if len(words) > 10 else ''}" if words else ""


def find_profile(name: str) -> "TextProfile":
    """Return a text profile by its name.

    Raises
    ------
    UsageError
        If there is none.
    """
    from asr.text import PROFILES

    if name not in PROFILES:
        raise UsageError(
            f"no text profile {name!r}{did_you_mean(name, PROFILES)}; expected one of {', '.join(PROFILES)}"
        )
    return PROFILES[name]


def say_what(lexicon: "PronouncingDictionary", path: Path) -> None:
    """Say on the error stream what was written."""
    print(
        f"asr: {path}: {len(lexicon):,} words, {lexicon.num_entries:,} pronunciations, {len(lexicon.phones)} phones",
        file=sys.stderr,
    )
