"""Figures for Prometheus: requests, queue, batches, speed."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from asr.server.engine import Engine


class Metrics:
    """The figures of one server.

    Parameters
    ----------
    engine : Engine
        Whose places and batches are counted.
    """

    def __init__(self, engine: Engine) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "asr_requests", "Requests answered.", ["route", "status"], registry=self._registry
        )  # Prometheus adds _total.
        self.seconds = Histogram(
            "asr_request_seconds",
            "Time from a request's first byte to its answer's last.",
            ["route"],
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
            registry=self._registry,
        )
        self.audio_seconds = Counter("asr_audio_seconds", "Audio recognised.", registry=self._registry)
        self.work_seconds = Counter(
            "asr_recognition_seconds", "Time that recognition took, waiting included.", registry=self._registry
        )
        self.first_words_seconds = Histogram(
            "asr_first_words_seconds",
            "Time from the end of an upload to the first words of its transcript.",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self._registry,
        )
        batches = Histogram(
            "asr_batch_utterances",
            "Utterances that ran through the network together.",
            ["model"],
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self._registry,
        )
        for name, model in engine.models.items():
            model.network.on_batch = batches.labels(name).observe
        self.live_words_seconds = Histogram(
            "asr_live_words_seconds",
            "Time from when sound came to when words were heard in it, of clients that are listened to.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=self._registry,
        )
        self.live_audio_seconds = Counter(
            "asr_live_audio_seconds", "Sound that was listened to.", registry=self._registry
        )
        self.live_behind = Counter(
            "asr_live_behind", "Pieces of sound that took longer to be heard than to be said.", registry=self._registry
        )
        engine.on_live = self._note_live
        streams = Gauge("asr_streams_open", "Clients that are listened to.", registry=self._registry)
        streams.set_function(lambda: engine.streams.taken)
        Gauge("asr_streams", "Clients that can be listened to.", registry=self._registry).set(engine.streams.count)
        places = Gauge("asr_places_taken", "Requests that are read, wait or run.", registry=self._registry)
        places.set_function(lambda: engine.places.taken)
        Gauge("asr_places", "Places for requests.", registry=self._registry).set(engine.places.count)

    def _note_live(self, audio_seconds: float, took: float, has_words: bool) -> None:
        self.live_audio_seconds.inc(audio_seconds)
        if has_words:
            self.live_words_seconds.observe(took)
        if took > audio_seconds:
            self.live_behind.inc()

    def text(self) -> bytes:
        """Return all figures in Prometheus's text format."""
        return generate_latest(self._registry)
