"""``asr decode``."""

import dataclasses
import io
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from asr.cli import options
from asr.errors import DecodingError, UsageError


def decode(
    log_probs: Annotated[
        list[Path], typer.Argument(help="NumPy files (.npy, .npz) with log-probs (frames, labels); - reads a pipe.")
    ],
    labels: Annotated[Path, typer.Option(help="A JSON list of labels (a bundle's tokens.json), or a vocab.json.")],
    blank: Annotated[int | None, typer.Option(help="The blank's index: 0, or the padding of a vocab.json.")] = None,
    lm: Annotated[Path | None, typer.Option(help="An n-gram model: ARPA, our binary or KenLM's.")] = None,
    lm_level: options.LmLevel = None,
    lexicon: Annotated[
        Path | None, typer.Option(help="File of the only words allowed: WORD, or WORD SPELLING.")
    ] = None,
    hotword: options.Hotword = None,
    beam_size: Annotated[int, typer.Option(min=1, help="Hypotheses kept; 1 without other options: greedy.")] = 100,
    nbest: Annotated[int, typer.Option(min=1, help="Hypotheses printed for each file.")] = 1,
    alpha: Annotated[float | None, typer.Option(help="Weight of the n-gram model; 0.5 if not given.")] = None,
    beta: Annotated[float | None, typer.Option(help="Bonus for each word, in nats; 1.5 if not given.")] = None,
    oov: Annotated[
        str | None, typer.Option(help="Words unknown to the n-gram model: allow, penalise (the default), forbid.")
    ] = None,
    frame_seconds: Annotated[float, typer.Option(help="Seconds from one frame to the next.")] = 1.0,
    normalise: Annotated[bool, typer.Option(help="The files hold raw logits: apply log-softmax first.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="Files decoded at once.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per file.")] = False,
) -> None:
    """Decode the log-probabilities of any CTC model.

    Prints the text of each file; with --nbest above 1, one line per hypothesis: total, acoustic and language
    model score (natural logarithms) and text, separated by tabs. With several
    arrays, lines begin with the file's name (FILE:ARRAY in a .npz file).
    """
    from asr.decoder import BeamSearchDecoder, GreedyDecoder, Labels, Lexicon, NGramModel

    common: dict[str, Any] = {"blank": blank, "frame_seconds": frame_seconds, "normalise": normalise}
    beam = _options(lm, {"beam_size": beam_size, "nbest": nbest}, {"alpha": alpha, "beta": beta, "oov": oov})
    if lm_level and not lm:
        raise UsageError("got --lm-level without an n-gram model: give one with --lm")
    decoder: GreedyDecoder | BeamSearchDecoder
    if beam_size == 1 and nbest == 1 and not (lm or lexicon or hotword):
        decoder = GreedyDecoder(_read_labels(labels), **common)
    else:
        known = _read_labels(labels)
        model = NGramModel.read(lm) if lm else None
        if lm_level is None:
            texts = known.texts if isinstance(known, Labels) else known
            lm_level = "token" if model is not None and model.is_of_tokens(texts) else "word"
        decoder = BeamSearchDecoder(
            known,
            options=beam,
            lm=model,
            lm_level=lm_level,
            lexicon=Lexicon.read(lexicon) if lexicon else None,
            hotwords=options.hotword_weights(hotword or []),
            **common,
        )

    def decode_file(path: Path) -> list[tuple[str, list[Any] | DecodingError]]:
        """Return the name of each array in the file, and its hypotheses or what is wrong with it."""
        results: list[tuple[str, list[Any] | DecodingError]] = []
        try:
            for name, array in _read_arrays(path):
                try:
                    results.append((name, list(decoder(array))))
                except DecodingError as error:
                    results.append((name, DecodingError(f"{name}: {error}".replace("normalise=True", "--normalise"))))
        except DecodingError as error:
            results.append((str(path), error))
        return results

    failed = 0
    with ThreadPoolExecutor(threads) as pool:
        for found in pool.map(decode_file, log_probs):
            for name, hypotheses in found:
                if isinstance(hypotheses, DecodingError):
                    failed += 1
                    print(f"asr: {hypotheses}", file=sys.stderr)
                else:
                    is_one = len(log_probs) == 1 == len(found)
                    _show(name, hypotheses, as_json=as_json, with_name=not is_one, with_scores=nbest > 1)
    if failed:
        raise typer.Exit(1)


def _options(lm: Path | None, sizes: dict[str, Any], weights: dict[str, Any]) -> Any:
    """Return the options of the beam search; `weights` are None where they are not given."""
    from asr.decoder import BeamOptions

    given = {name: value for name, value in weights.items() if value is not None}
    try:
        options = BeamOptions(**sizes, **given)
    except DecodingError as error:
        raise UsageError(str(error)) from None
    if given and lm is None:
        names = ", ".join(f"--{name}" for name in given)
        raise UsageError(f"got {names} without an n-gram model: give one with --lm")
    return options


def _show(name: str, hypotheses: list[Any], *, as_json: bool, with_name: bool, with_scores: bool) -> None:
    if as_json:
        print(json.dumps({"file": name, "hypotheses": list(map(dataclasses.asdict, hypotheses))}, ensure_ascii=False))
        return
    for best in hypotheses:
        scores = [f"{score:.3f}" for score in (best.score, best.acoustic_score, best.lm_score)] if with_scores else []
        print("\t".join([*([name] if with_name else []), *scores, best.text]), flush=True)


def _read_labels(path: Path) -> Any:
    from asr.decoder import Labels

    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"cannot read the labels {path}: {error.strerror}") from None
    except ValueError as error:
        raise DecodingError(f"{path} is not JSON ({error}); expected a list of labels, or label: index") from None
    if isinstance(content, dict):
        return Labels.from_huggingface(content)
    if not isinstance(content, list):
        raise DecodingError(f"{path} holds {type(content).__name__}; expected a list of labels, or label: index")
    return content


def _read_arrays(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the arrays of a file, or of standard input, with their names."""
    import numpy as np

    try:
        # A zip file is read from its end, which a pipe does not have.
        if str(path) == "-":
            file: Any = io.BytesIO(sys.stdin.buffer.read())
        else:
            file = io.BytesIO(path.read_bytes()) if path.is_fifo() else path
        content = np.load(file, allow_pickle=False)
    except OSError as error:
        raise DecodingError(f"cannot read {path}: {error.strerror or error}") from None
    # NumPy evaluates the header of a damaged file, and raises whatever that does.
    except Exception:
        raise DecodingError(
            f"{path} is not a NumPy array; expected a file that numpy.save or numpy.savez wrote"
        ) from None
    if isinstance(content, np.ndarray):
        yield str(path), content
        return
    with content:
        for name in content.files:
            try:
                yield f"{path}:{name}", content[name]
            except Exception as error:
                raise DecodingError(f"{path}: array {name!r} cannot be read: {error}") from None
