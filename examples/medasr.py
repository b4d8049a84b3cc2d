"""Dictation by MedASR, from the Hugging Face Hub, with its own language model: a 6-gram of tokens.

pip install 'ctc-asr[hub,convert]'
hf auth login                 # after accepting the terms at https://huggingface.co/google/medasr
python examples/medasr.py dictation.wav
"""

import sys

from huggingface_hub import hf_hub_download

import asr

MODEL = "google/medasr"


def main() -> None:
    lm = hf_hub_download(MODEL, "lm_6.kenlm")
    transcriber = asr.load(MODEL, lm=lm, lm_level="token", beam_size=8)
    for segment in transcriber.transcribe(sys.argv[1]).segments:
        print(segment.text)


if __name__ == "__main__":
    main()
