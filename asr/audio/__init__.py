"""Any audio file, bytes, file object or array → float32 mono samples at the wanted rate.

One module for each step::

    sources.py      any kind of source → a name and an open, seekable file
    survey.py       the length of a file by its packets (headers.py, mpeg.py, ogg.py), where libsndfile looks at less
    joined.py       files that are several, one behind the other
    sound.py        libsndfile: wav, flac, ogg, mp3, NIST sphere, …
    container.py    PyAV: mp4, mkv, webm, …, and files that libsndfile refuses or does not read to the end
    readers.py      chooses the reader of a file, and says what it did not read
    resampling.py   samples at another rate, by soxr
    stream.py       block by block, in bounded memory: mono, finite, at one rate
    loading.py      all at once
"""

from asr.audio.loading import audio_duration, load_audio
from asr.audio.resampling import resample
from asr.audio.sources import AUDIO_SUFFIXES, AudioSource, Waveform
from asr.audio.stream import AudioPart, AudioStream, AudioWarning, IncompleteAudioWarning

__all__ = [
    "AUDIO_SUFFIXES",
    "AudioPart",
    "AudioSource",
    "AudioStream",
    "AudioWarning",
    "IncompleteAudioWarning",
    "Waveform",
    "audio_duration",
    "load_audio",
    "resample",
]
