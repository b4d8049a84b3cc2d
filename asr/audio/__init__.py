"""Any audio file, bytes, file object or array → float32 mono samples at the wanted rate.

One module for each step::

    sources.py      what audio can be given as, opened: a name and a seekable file
    readers.py      how samples are read: libsndfile (wav, flac, ogg, mp3, NIST sphere, …); PyAV for what it cannot read
    interrupts.py   Ctrl-C while a library reads
    stream.py       block by block, in bounded memory: mono, finite, resampled by soxr
    loading.py      all at once
"""

from asr.audio.loading import Waveform, audio_duration, load_audio, resample
from asr.audio.sources import AudioSource
from asr.audio.stream import AudioStream, AudioWarning

__all__ = [
    "AudioSource",
    "AudioStream",
    "AudioWarning",
    "Waveform",
    "audio_duration",
    "load_audio",
    "resample",
]
