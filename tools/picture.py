"""Draw what the pipeline sees and says: features, log-probabilities and words of one recording, for the README.

python tools/picture.py exp/digits/bundle data_prep/digits/example.wav docs/result.png
"""

import sys

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from asr.audio import load_audio
from asr.bundle.front_end import LogMelFrontEnd
from asr.tokenizer import BLANK
from asr.transcription.transcribe import Transcriber


def main(model: str, audio: str, out: str) -> None:
    """Transcribe `audio` with `model` and write the picture to `out`."""
    transcriber = Transcriber(model)
    bundle = transcriber.bundle
    front_end = bundle.front_end
    if not isinstance(front_end, LogMelFrontEnd):
        sys.exit(f"{model} hears the waveform itself; expected a model of log-mel features")
    samples = load_audio(audio, bundle.features.sample_rate).samples
    duration = len(samples) / bundle.features.sample_rate
    probabilities = np.exp(transcriber.log_probs(samples))
    transcript = transcriber.transcribe(audio)

    figure, (top, bottom) = plt.subplots(2, 1, figsize=(9, 4), sharex=True, height_ratios=(3, 2), layout="constrained")
    top.imshow(
        front_end.log_mel(samples).T,
        origin="lower",
        aspect="auto",
        cmap="magma",
        interpolation="nearest",
        extent=(0, duration, 0, front_end.width),
    )
    top.set_ylabel("mel band")
    time = bundle.frame_seconds * (np.arange(len(probabilities)) + 0.5)
    for token in range(len(bundle.tokenizer)):
        if token != BLANK and probabilities[:, token].max() > 0.3:
            (line,) = bottom.plot(time, probabilities[:, token], linewidth=1)
            for frame in np.flatnonzero(probabilities[:, token] > 0.5):
                label = bundle.tokenizer.tokens[token].replace(" ", "␣")
                bottom.annotate(label, (time[frame], 1.04), ha="center", color=line.get_color(), fontsize=8)
    bottom.plot(time, probabilities[:, BLANK], color="0.8", linewidth=1, zorder=0)
    bottom.set(xlabel="seconds", ylabel="probability", xlim=(0, duration), ylim=(0, 1.2))
    for word in transcript.words:
        top.axvspan(word.start_seconds, word.end_seconds, facecolor="none", edgecolor="white", linewidth=1)
        top.annotate(
            f"{word.text} {word.confidence:.2f}",
            ((word.start_seconds + word.end_seconds) / 2, 0.93 * front_end.width),
            color="white", ha="center", fontsize=9,
            bbox={"facecolor": "black", "alpha": 0.6, "linewidth": 0, "pad": 1.5},
        )  # fmt: skip
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
