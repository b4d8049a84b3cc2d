"""Subtitles by Parakeet CTC, from the Hugging Face Hub, with names that are expected. PyTorch is not needed.

pip install 'ctc-asr[hub]'
python examples/parakeet.py interview.mp3 "Ada Lovelace" "Charles Babbage" > interview.srt
"""

import sys

import asr
from asr.transcription.writers import WRITERS


def main() -> None:
    recording, *names = sys.argv[1:]
    transcriber = asr.load("istupakov/parakeet-ctc-0.6b-onnx", beam_size=100, hotwords=names)
    print(WRITERS["srt"](transcriber.transcribe(recording), recording), end="")


if __name__ == "__main__":
    main()
