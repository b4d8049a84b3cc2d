"""AN4's test recordings in several formats: the WER of each, and whether 16-bit wav and flac give the same words.

    ASR_ARCHIVES=FOLDER python benchmarks/audio_formats.py [--model an4]

FOLDER holds an4_sphere.tar.* (CMU). ffmpeg, which must be installed, makes the files.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from shutil import which

import soundfile
from an4_recordings import SAMPLE_RATE, read_test_set

import asr
from asr.errors import AsrError
from asr.wer import word_errors

# Name: suffix, options of ffmpeg.
FORMATS = {
    "wav, 16 bit": ("wav", []),
    "flac": ("flac", []),
    "mp3, 64 kbit/s": ("mp3", ["-b:a", "64k"]),
    "ogg/opus, 24 kbit/s": ("ogg", ["-c:a", "libopus", "-b:a", "24k"]),
    "ogg/vorbis": ("ogg", ["-c:a", "libvorbis"]),
    "wav, 8 kHz mono": ("wav", ["-ar", "8000"]),
    "wav, 44.1 kHz stereo": ("wav", ["-ar", "44100", "-ac", "2"]),
    "m4a, aac 64 kbit/s": ("m4a", ["-c:a", "aac", "-b:a", "64k"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="an4")
    transcriber = asr.load(parser.parse_args().model)
    if which("ffmpeg") is None:
        sys.exit("ffmpeg is not installed")
    recordings = read_test_set()
    texts = {}
    for name, (suffix, options) in FORMATS.items():
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for recording in recordings:
                source = Path(folder) / "source.wav"
                files.append(Path(folder) / f"{recording.name}.{suffix}")
                soundfile.write(source, recording.samples, SAMPLE_RATE, subtype="PCM_16")
                subprocess.run(["ffmpeg", "-y", "-loglevel", "error", "-i", source, *options, files[-1]], check=True)
            results = list(transcriber.transcribe_many(files))
        errors = [result for result in results if isinstance(result, AsrError)]
        if errors:
            print(f"{name:22} {errors[0]}")
            continue
        texts[name] = [result.text for result in results if not isinstance(result, AsrError)]
        print(f"{name:22} {word_errors([recording.text for recording in recordings], texts[name]).kaldi_line()}")
    if texts["wav, 16 bit"] != texts["flac"]:
        sys.exit("wav and flac give different words")
    print("wav and flac give the same words")


if __name__ == "__main__":
    main()
