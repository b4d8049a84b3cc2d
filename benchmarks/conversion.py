"""How closely converted models follow their originals: small networks with random weights, one of each family.

    python benchmarks/conversion.py [--recordings 20]

For each family of transformers' …ForCTC classes: recordings of 0.5 to 20 s, alone and padded to batches of five, the
latter also where padding changes the values, so that utterances run alone; the largest difference of log-probabilities
from the original (extractor, network, log-softmax, one utterance a run), and how many greedy texts have the words of
the original's tokenizer. For the layouts of onnx-asr and sherpa-onnx: the same graph in onnx-asr (PyPI), and how many
recordings have the same tokens. Prints Markdown. Needs the [convert] extra.
"""

import argparse
import json
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))

from asr.bundle.bundle import Bundle
from asr.bundle.runtime import make_runtime, open_session
from asr.convert.convert import convert
from asr.decoder import GreedyDecoder
from tests.convert.random_models import FAMILIES, make_model, original_text
from tests.convert.test_onnx_folder import onnx_asr_folder

RATE = 16_000
Samples = NDArray[np.float32]


def recordings(count: int) -> list[Samples]:
    """Return noise of 0.5 to 20 s and of various loudness, whose colour changes as that of speech does."""
    random = np.random.default_rng(7)
    made = []
    for seconds in np.geomspace(0.5, 20, count):
        noise = random.standard_normal(round(RATE * seconds))
        knots = np.linspace(0, len(noise), 2 + len(noise) // 4000)
        envelope = np.interp(np.arange(len(noise)), knots, random.random(len(knots)))
        made.append((0.2 * random.uniform(0.1, 1) * envelope * noise).astype(np.float32))
    return made


def compared(family: str, samples: list[Samples], folder: Path) -> tuple[float, float, int, Bundle]:
    """Return the largest differences alone and in batches, and how many texts are the same."""
    model, extractor, tokens = make_model(family, folder / "source")
    bundle = convert(folder / "source", folder / "bundle")
    runtime = make_runtime(bundle, threads=1)
    features = [bundle.front_end(x) for x in samples]
    alone = [runtime([x])[0] for x in features]
    session = open_session(bundle.directory / "model.onnx", threads=1)
    batches = [
        rows for first in range(0, len(features), 5) for rows in bundle.graph.run(session, features[first : first + 5])
    ]
    blank = tokens.index("<pad>")
    order = [blank, *(index for index in range(len(tokens)) if index != blank)]
    decoder = GreedyDecoder(bundle.tokenizer.tokens, blank=0)
    differences, same = [0.0, 0.0], 0
    for x, one, together in zip(samples, alone, batches, strict=True):
        with torch.inference_mode():
            inputs = extractor(x, sampling_rate=RATE, return_tensors="pt")
            expected = torch.log_softmax(model(**inputs).logits, dim=-1)[0].numpy()[:, order][: len(one)]
        for place, rows in enumerate((one, together)):
            # Of what cannot be said, -60 or so, float32 has fewer digits: nobody's words depend on them.
            # Of a group norm, padded recordings have more frames.
            difference = np.abs(rows[: len(expected)] - expected)[expected > -30]
            differences[place] = max(differences[place], float(difference.max()))
        text = original_text(tokens, folder / "source", [order[index] for index in expected.argmax(axis=1)])
        # Of two word delimiters in a row, some tokenizers make two spaces.
        same += decoder.decode(one).split() == text.split()
    alone_most, together_most = differences
    return alone_most, together_most, same, bundle


def layouts(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield title, onnx-asr's name of the type, and folder of graphs in the layouts of onnx-asr and sherpa-onnx."""
    yield "onnx-asr, nemo-conformer-ctc", "nemo-conformer-ctc", onnx_asr_folder(folder / "onnx-asr")
    metadata = {"model_type": "EncDecCTCModelBPE", "normalize_type": "per_feature", "subsampling_factor": "8"}
    source = onnx_asr_folder(folder / "sherpa", metadata=metadata)
    shutil.copyfile(source / "vocab.txt", source / "tokens.txt")
    (source / "config.json").unlink()
    (source / "vocab.txt").unlink()
    yield "sherpa-onnx, EncDecCTCModelBPE", "nemo-conformer-ctc", source


def same_as_onnx_asr(name: str, source: Path, samples: list[Samples], folder: Path) -> int:
    """Return how many recordings have the tokens that onnx-asr finds."""
    import onnx_asr

    bundle = convert(source, folder / f"{source.name}-bundle")
    runtime, tokens = make_runtime(bundle, threads=1), bundle.tokenizer.tokens
    if not (source / "vocab.txt").is_file():
        shutil.copyfile(source / "tokens.txt", source / "vocab.txt")
        (source / "config.json").write_text(
            json.dumps({"model_type": name, "features_size": 80, "subsampling_factor": 8})
        )
    other: Any = onnx_asr.load_model(name, source, providers=["CPUExecutionProvider"]).with_timestamps()
    same = 0
    for x in samples:
        best = runtime([bundle.front_end(x)])[0].argmax(axis=1)
        got = [tokens[i] for i, before in zip(best, [0, *best[:-1]], strict=True) if i not in (0, before)]
        same += [token.replace("▁", " ") for token in got] == other.recognize(x, sample_rate=RATE).tokens
    return same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=20)
    samples = recordings(parser.parse_args().recordings)
    print("| family | largest difference alone | in batches of 5 | same greedy text | an utterance a run |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, family in enumerate(FAMILIES):
            alone, together, same, bundle = compared(family, samples, Path(scratch) / str(number))
            single = "" if bundle.graph.batches else "yes"
            print(f"| {family} | {alone:.1e} | {together:.1e} | {same} of {len(samples)} | {single} |", flush=True)
        try:
            import onnx_asr
        except ImportError:
            sys.exit("the layouts of onnx-asr and sherpa-onnx are compared where onnx-asr is installed")
        print(f"\n| layout | same tokens as onnx-asr {onnx_asr.__version__} |\n|---|---|")
        for title, name, source in layouts(Path(scratch)):
            print(
                f"| {title} | {same_as_onnx_asr(name, source, samples, Path(scratch))} of {len(samples)} |", flush=True
            )


if __name__ == "__main__":
    main()
