"""What Prometheus asks a server: requests, queue, batches, speed."""

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
        places = Gauge("asr_places_taken", "Requests that are read, wait or run.", registry=self._registry)
        places.set_function(lambda: engine.places.taken)
        Gauge("asr_places", "Places for requests.", registry=self._registry).set(engine.places.count)

    def text(self) -> bytes:
        """Return all figures in Prometheus's text format."""
        return generate_latest(self._registry)
