"""Words and their times by wav2vec 2.0, from the Hugging Face Hub.

    pip install 'ctc-asr[hub,convert]'
    python examples/wav2vec2.py interview.mp3

The model is downloaded and converted when it is first used, for which PyTorch is needed, and never again.
"""

import sys

import asr


def main() -> None:
    transcript = asr.load("facebook/wav2vec2-base-960h").transcribe(sys.argv[1])
    for word in transcript.words:
        print(f"{word.start_seconds:8.2f} {word.end_seconds:8.2f} {word.confidence:5.2f}  {word.text}")


if __name__ == "__main__":
    main()
