"""Any audio file, bytes, file object or array → float32 mono samples at the wanted rate.

One module for each step::

    sources.py      what audio can be given as, opened: a name and a seekable file
    survey.py       what the packets of a file say of its length, where libsndfile goes by less
    sound.py        libsndfile: wav, flac, ogg, mp3, NIST sphere, …
    container.py    PyAV: mp4, mkv, webm, …, and what libsndfile refuses or does not read to its end
    readers.py      which of them reads a file
    stream.py       block by block, in bounded memory: mono, finite, resampled by soxr
    loading.py      all at once
"""

from asr.audio.loading import audio_duration, load_audio, resample
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
