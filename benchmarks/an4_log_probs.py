"""What the model `an4` says of AN4's recordings, in a folder that decoder.py, drop_in.py and pruning.py read.

    ASR_ARCHIVES=DIR python benchmarks/an4_log_probs.py FOLDER [--split dev]

DIR holds an4_sphere.tar.*. Writes log_probs.npz (an array (frames, labels) an utterance), texts.txt, labels.json and
lm.arpa, the model's own 3-gram. Choose settings on dev, which is eight training speakers held out; report on test.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from an4_recordings import read_recordings

import asr
from asr.decoder import NGramModel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", choices=["dev", "test"], default="test")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    transcriber = asr.load("an4", threads=1)
    log_probs: dict[str, Any] = {}
    texts = []
    for recording in read_recordings(arguments.split):
        utterances, _ = transcriber.utterances(recording.samples, source_rate=16_000)
        log_probs[recording.name] = np.concatenate([utterance.log_probs for utterance in utterances])
        texts.append(recording.text)
    bundle = transcriber.bundle
    np.savez(arguments.folder / "log_probs.npz", **log_probs)
    (arguments.folder / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    (arguments.folder / "labels.json").write_text(json.dumps(list(bundle.tokenizer.tokens)), encoding="utf-8")
    NGramModel.read(bundle.language_model or "").write_arpa(arguments.folder / "lm.arpa")
    print(f"{len(texts)} utterances, {sum(map(len, log_probs.values()))} frames")


if __name__ == "__main__":
    main()
