"""PyAV (FFmpeg): mp4, mkv, webm, avi, ts, … and all else that libsndfile does not read to its end."""

import errno
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from asr.audio.sound import BLOCK_SAMPLES, Seekable
from asr.audio.sources import float_samples
from asr.errors import AudioError, MissingExtraError, first_line
from asr.interrupts import interrupts_wait

# What FFmpeg may take a file for. Playlists and lists of files, which name others for it to open, are not among them,
# nor are pictures and text.
FORMATS = (
    "aac,ac3,adts,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,g722,gsm,iff,ircam,latm,loas,"
    "matroska,mlp,mov,mp2,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nut,oga,ogg,oma,opus,paf,rm,sds,shn,smjpeg,sox,"
    "spdif,swf,tak,truehd,tta,voc,w64,wav,wtv,wv,xwma"
)
# Formats in which packets carry a clock: where it jumps, there is a pause that nothing was stored of.
CLOCKED = frozenset(["asf", "avi", "flv", "matroska", "mov", "mpeg", "mpegts", "mxf", "nut", "rm", "wtv"])
# Formats whose header states how long all of the file is.
STATED = frozenset(["aiff", "ape", "flac", "flv", "matroska", "mov", "mxf", "tak", "tta", "w64", "wav", "wv"])
# Clocks of containers are this exact; packets of some are 60 ms long.
MIN_PAUSE_SECONDS = 0.1
# A longer pause, or one that reaches beyond the duration that the file states, is a damaged clock, or one set anew.
MAX_PAUSE_SECONDS = 6 * 3600.0
MAX_UNSTATED_PAUSE_SECONDS = 600.0
# Packets are of milliseconds, or a second or two; a damaged header may say days.
MAX_PACKET_SECONDS = 60.0
# Of a file that is none, few packets can be decoded, and never so many in a row.
MIN_DECODED_SHARE, MIN_DECODED_RUN_SECONDS = 0.5, 1.0
# Frame types of AMR from here on (3GPP TS 26.101, 26.201) are comfort noise or nothing: pauses, which carry no speech.
FIRST_PAUSE_TYPE = {"amrnb": 8, "amrwb": 9}


class ContainerReader:
    """An audio track of any file that PyAV reads; what cannot be decoded becomes silence, and is counted.

    Parameters
    ----------
    file : binary file
    name : str
        For messages.
    track : int, optional
        Which of the audio tracks, from 0; the first by default.

    Raises
    ------
    AudioError
        If there is no such audio track in the file, or it is damaged.
    MissingExtraError
        If PyAV is not installed.
    """

    # Containers state what encoders padded, and live recordings nothing.
    stated_seconds = 0.0

    def __init__(self, file: BinaryIO, name: str, track: int | None = None) -> None:
        try:
            import av
        except ImportError:
            raise MissingExtraError("PyAV", "media", f"{name}: reading mp4, m4a, webm and similar containers") from None
        self._name = name
        # FFmpeg, and PyAV with it, raises errors of many kinds: whatever they are, they are this file's.
        try:
            with interrupts_wait():
                self._container = av.open(
                    Seekable(file), mode="r", metadata_errors="ignore", options={"format_whitelist": FORMATS}
                )
        except Exception as error:
            raise AudioError(f"{name}: is not audio in a format that can be read ({_reason(error)})") from None
        try:
            self._format = str(self._container.format.name).split(",")[0]
            self._stream = self._choose(track)
            self.sample_rate = int(self._stream.rate or 0)
            self.num_channels = int(self._stream.codec_context.channels or 0)
        except Exception as error:
            self._container.close()
            if isinstance(error, AudioError):
                raise
            raise AudioError(f"{name}: is not audio that can be read ({_reason(error)})") from None
        self._decoder = _better_decoder(self._stream, av)
        self.num_tracks = len(self._container.streams.audio)
        # Silence that was put in where the clock goes on without any packets.
        self.paused_seconds = 0.0
        self._decoded_seconds = self._undecoded_seconds = self._last_seconds = 0.0
        # Silence that was put in for what could not be decoded.
        self._silenced_seconds = 0.0
        # What was decoded since the last packet that could not be, and the most of that so far.
        self._run_seconds = self._longest_run_seconds = 0.0

    def _choose(self, track: int | None) -> Any:
        tracks = self._container.streams.audio
        if not tracks:
            raise AudioError(f"{self._name}: is not audio that can be read (it has no audio stream)")
        if track is not None and not 0 <= track < len(tracks):
            raise AudioError(f"{self._name}: got audio track {track + 1}; expected 1 to {len(tracks)}")
        chosen = tracks[track or 0]
        if chosen.codec_context is None:
            raise AudioError(
                f"{self._name}: FFmpeg has no decoder for its audio (damaged, protected, or of a rare kind); convert "
                "it to wav or flac"
            )
        return chosen

    def blocks(self, first: int, last: int | None) -> Iterator[NDArray[np.float32]]:
        """Yield samples; see `asr.audio.readers.Reader`.

        Raises
        ------
        AudioError
            If next to nothing of the file can be decoded.
        """
        position, held, parts = 0, 0, []
        for block in self._by_the_clock():
            part = block[max(0, first - position) : None if last is None else max(0, last - position)]
            position += len(block)
            parts.append(part)
            held += len(part)
            # Frames are of a few milliseconds.
            if held >= BLOCK_SAMPLES:
                yield np.concatenate(parts)
                held, parts = 0, []
            if last is not None and position >= last:
                break
        total = self._decoded_seconds + self._undecoded_seconds
        is_audio = self._longest_run_seconds >= MIN_DECODED_RUN_SECONDS
        if self._decoded_seconds < MIN_DECODED_SHARE * total and not is_audio:
            raise AudioError(
                f"{self._name}: is damaged, or not audio: {self._undecoded_seconds:.1f} s of {total:.1f} s cannot be "
                "decoded"
            )
        if held:
            yield np.concatenate(parts)

    def _by_the_clock(self) -> Iterator[NDArray[np.float32]]:
        """Yield frames ``(num_samples, num_channels)``, and silence where the file's clock goes on without any."""
        rate, given = self.sample_rate, 0
        # Players count from the first packet of any track.
        start = (self._container.start_time or 0) / 1e6
        is_clocked = self._format in CLOCKED
        stated = (self._container.duration or 0) / 1e6
        for samples, seconds in self._decoded():
            if is_clocked and seconds is not None:
                pause = seconds - start - given / rate
                is_stated = seconds - start <= stated + 1 and self.paused_seconds + pause < MAX_PAUSE_SECONDS
                most = MAX_PAUSE_SECONDS if is_stated else MAX_UNSTATED_PAUSE_SECONDS - self.paused_seconds
                if not -MIN_PAUSE_SECONDS < pause < max(MIN_PAUSE_SECONDS, most):
                    start += pause
                elif pause > MIN_PAUSE_SECONDS:
                    self.paused_seconds += pause if given else 0.0
                    for silence in _silence(round(pause * rate), self.num_channels):
                        given += len(silence)
                        yield silence
            given += len(samples)
            yield samples

    def _decoded(self) -> Iterator[tuple[NDArray[np.float32], float | None]]:
        """Yield (samples ``(num_samples, num_channels)``, their time in the file's clock) of each frame."""
        waiting = lost = 0.0
        for packet in self._packets():
            size = min(float((packet.duration or 0) * (packet.time_base or 0)), MAX_PACKET_SECONDS)
            if packet.pts is not None and packet.time_base is not None:
                self._last_seconds = max(self._last_seconds, float(packet.pts * packet.time_base) + size)
            if packet.stream.index != self._stream.index:
                continue
            try:
                with interrupts_wait():
                    frames = self._decoder.decode(packet) if self._decoder else packet.decode()
                heard = [(self._samples(frame), _clock_of(frame, self._stream)) for frame in frames]
            except Exception:
                heard = []
                if is_pause := _is_pause(packet, self._stream):
                    self._decoded_seconds += size
                elif packet.size:
                    self._undecoded_seconds += size
                    self._run_seconds = 0.0
                if self._format not in CLOCKED:
                    lost += 0.0 if is_pause else size
                    waiting += size
            else:
                is_pause = False
            # Of a file that is cut, the last packets cannot be decoded: silence at its end would be made up.
            if waiting and (heard or is_pause):
                for silence in _silence(round(waiting * self.sample_rate), self.num_channels):
                    yield silence, None
                self._silenced_seconds += lost
                waiting = lost = 0.0
            for samples, seconds in heard:
                self._decoded_seconds += len(samples) / self.sample_rate
                self._run_seconds += len(samples) / self.sample_rate
                self._longest_run_seconds = max(self._longest_run_seconds, self._run_seconds)
                yield samples, seconds

    def _packets(self) -> Iterator[Any]:
        packets = self._container.demux()
        while True:
            try:
                with interrupts_wait():
                    packet = next(packets, None)
            except Exception:
                # What is missing is told by `missing_seconds`.
                return
            if packet is None:
                return
            yield packet

    def _samples(self, frame: Any) -> NDArray[np.float32]:
        """Return a frame's samples, ``(num_samples, num_channels)`` whatever its own number and rate are."""
        count = len(frame.layout.channels)
        # Of a damaged frame PyAV may see more planes than there are; to read them ends the process.
        if frame.format.is_planar and len(frame.planes) != count:
            raise ValueError(f"a frame of {count} channels has {len(frame.planes)} planes")
        array = frame.to_ndarray()
        array = array.T if frame.format.is_planar else array.reshape(-1, count)
        if array.dtype == np.uint8:
            array = (array.astype(np.int16) - 128) * 256
        samples = float_samples(np.ascontiguousarray(array))
        if count != self.num_channels:
            samples = np.repeat(samples.mean(axis=1, keepdims=True), self.num_channels, axis=1)
        if frame.rate != self.sample_rate:
            import soxr

            samples = soxr.resample(samples, frame.rate, self.sample_rate)
        return samples

    def missing_seconds(self, num_read: int) -> float:
        """Return how much is promised beyond what could be decoded."""
        lost = self._undecoded_seconds
        if self._format not in STATED:
            return lost
        start = (self._container.start_time or 0) / 1e6
        if self._stream.duration and self._stream.time_base:
            stated = float(self._stream.duration * self._stream.time_base)
            begun = float((self._stream.start_time or 0) * self._stream.time_base) - start
            return max(lost, stated + max(0.0, begun) - num_read / self.sample_rate + self._silenced_seconds)
        # Of all tracks: the picture may go on when the sound has ended.
        if self._container.duration:
            return max(lost, float(self._container.duration) / 1e6 - max(0.0, self._last_seconds - start))
        return lost

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()


def _silence(num_samples: int, num_channels: int) -> Iterator[NDArray[np.float32]]:
    for first in range(0, num_samples, BLOCK_SAMPLES):
        yield np.zeros((min(BLOCK_SAMPLES, num_samples - first), num_channels), np.float32)


def _clock_of(frame: Any, stream: Any) -> float | None:
    base = frame.time_base or stream.time_base
    return None if frame.pts is None or base is None else float(frame.pts * base)


def _better_decoder(stream: Any, av: Any) -> Any:
    """Return a decoder that makes comfort noise of AMR's pauses, if there is one; FFmpeg's own refuses them."""
    name = f"libopencore_{stream.codec_context.name}"
    if stream.codec_context.name not in FIRST_PAUSE_TYPE or name not in av.codecs_available:
        return None
    decoder = av.CodecContext.create(name, "r")
    decoder.sample_rate, decoder.layout = stream.codec_context.sample_rate, stream.codec_context.layout
    return decoder


def _is_pause(packet: Any, stream: Any) -> bool:
    """Whether a packet that cannot be decoded is one of discontinuous transmission (AMR), in which nobody speaks."""
    first = FIRST_PAUSE_TYPE.get(str(stream.codec_context.name).removeprefix("libopencore_"))
    return first is not None and packet.size > 0 and bytes(packet)[0] >> 3 & 15 >= first


def _reason(error: Exception) -> str:
    if getattr(error, "errno", 0) == errno.EINVAL:
        return "format not recognised"
    return str(getattr(error, "strerror", None) or first_line(error))
