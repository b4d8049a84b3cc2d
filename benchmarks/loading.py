"""Data loading alone against training on the same CPU; its memory over 100 epochs; a million utterances.

    python benchmarks/loading.py --data data/an4/train [--audio data/an4_audio/train --noises data/noise/noise]

Waveforms are altered in NumPy, and once more in torch, which does it on a GPU (training.waveforms_on), here on the CPU.
Speeds are hours of audio for a second of processor time, one thread, loading and training in turn in one process: what
else runs on the machine hardly counts. Training is the recipe's network, forward, CTC and backward, on loaded batches.
Memory and the million made-up utterances (20 frames of 8 bands) are measured in processes of their own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROUNDS = 3
EPOCHS = 100
# Batches of an epoch that the network is timed on.
STEPS = 4


# Appended to the name of what torch does instead of NumPy.
IN_TORCH = ", in torch"


def make_source(path: Path, augment: Any, time_reduction: Any = 4) -> Any:
    from asr.model_config import ModelConfig
    from asr.store.store import open_store
    from asr.tokenizer import CharTokenizer
    from asr.training.batches import BatchSource

    store = open_store(path)
    model = ModelConfig(time_reduction=time_reduction)
    return BatchSource(store, CharTokenizer.from_texts(store.texts), model, 4000, augment)


def configurations(audio: Path | None, noises: Path | None) -> dict[str, tuple[bool, Any]]:
    """Return name → (whether of waveforms, augmentation)."""
    from asr.training.config import AugmentConfig, WaveformAugmentConfig

    everything: dict[str, Any] = {"pause_probability": 0.3, "noise_probability": 0.5}
    chosen: dict[str, tuple[bool, Any]] = {
        "features, unaltered": (False, None),
        "features, stretched and masked": (False, AugmentConfig()),
        "features, also pauses and noise": (False, AugmentConfig(**everything)),
    }
    if audio:
        speeds = WaveformAugmentConfig(speeds=(0.9, 1.0, 1.1))
        chosen["waveforms, unaltered"] = (True, None)
        chosen["waveforms, speeds, masked"] = (True, AugmentConfig(time_stretch=0, waveform=speeds))
        if noises:
            noisy = WaveformAugmentConfig(speeds=(0.9, 1.0, 1.1), noises=str(noises), gain_db=6)
            config = AugmentConfig(time_stretch=0, pause_probability=0.3, waveform=noisy)
            chosen["waveforms, speeds, pauses, noise, gain"] = (True, config)
    return chosen


def load_epoch(source: Any, epoch: int) -> float:
    """Return the hours of a second of processor time."""
    begin = time.process_time()
    for planned in source.plan(1, epoch):
        source.batch(planned, 1, epoch)
    return float(source.store.hours / (time.process_time() - begin))


def train_steps(source: Any, model: Any) -> float:
    """Return the hours of a second of processor time; loading is not counted."""
    from torch.nn.functional import ctc_loss

    batches = [source.batch(planned, 1, 0) for planned in source.plan(1, 0)[:STEPS]]
    frames = sum(int(batch.feature_lengths.sum()) for batch in batches)
    begin = time.process_time()
    for batch in batches:
        log_probs, lengths = model(batch.features, batch.feature_lengths)
        ctc_loss(log_probs.transpose(0, 1), batch.targets, lengths, batch.target_lengths).backward()
        model.zero_grad()
    return float(frames * source.store.config.hop_seconds / 3600 / (time.process_time() - begin))


def speeds(data: Path, audio: Path | None, noises: Path | None) -> None:
    import torch

    from asr.model import AcousticModel
    from asr.model_config import ModelConfig

    torch.set_num_threads(1)
    sources = {}
    for name, (of_waveforms, augment) in configurations(audio, noises).items():
        sources[name] = make_source(audio if audio and of_waveforms else data, augment)
        if audio and of_waveforms and augment:
            sources[name + IN_TORCH] = make_source(audio, augment)
            sources[name + IN_TORCH].features.work_on(torch.device("cpu"))
    first = next(iter(sources.values()))
    model = AcousticModel(ModelConfig(), first.store.config.n_mels, len(first.tokenizer)).train()
    best: dict[str, float] = dict.fromkeys((*sources, "training"), 0.0)
    for number in range(ROUNDS):
        best["training"] = max(best["training"], train_steps(first, model))
        for name, source in sources.items():
            best[name] = max(best[name], load_epoch(source, number))
    print(f"{'':50s} {'hours/s':>8s} {'x real time':>12s} {'x training':>11s}")
    for name, value in best.items():
        print(f"{name:50s} {value:8.3f} {3600 * value:12,.0f} {value / best['training']:11.1f}")


def memory(data: Path) -> None:
    """Print resident memory in MB after the first epoch, and as it grows."""
    _, augment = configurations(None, None)["features, also pauses and noise"]
    source = make_source(data, augment)
    resident = {}
    for epoch in range(EPOCHS):
        load_epoch(source, epoch)
        if epoch + 1 in (1, 2, 10, 50, EPOCHS):
            resident[epoch + 1] = sum(memory_mb().values())
    print(json.dumps(resident))


def memory_mb() -> dict[str, int]:
    """Return this process's own memory, and the pages of mapped files that are in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    values = {line.partition(":")[0]: line.split()[1] for line in lines if line.startswith("Rss")}
    return {"own": int(values["RssAnon"]) // 1024, "mapped": int(values["RssFile"]) // 1024}


def million(folder: Path) -> None:
    """Print the seconds and the memory to the first batch of a million utterances, after the imports."""
    import asr.training.batches  # noqa: F401

    imported = memory_mb()
    begin, begin_processor = time.perf_counter(), time.process_time()
    from asr.training.config import AugmentConfig

    source = make_source(folder, AugmentConfig(), time_reduction=2)
    opened = time.perf_counter() - begin
    plan = source.plan(1, 0)
    planned = time.perf_counter() - begin
    batch = source.batch(plan[0], 1, 0)
    figures = {"opened_s": opened, "planned_s": planned, "first_batch_s": time.perf_counter() - begin}
    figures |= {"processor_s": time.process_time() - begin_processor}
    print(json.dumps({name: round(value, 2) for name, value in figures.items()}))
    print("memory in MB after imports", imported, "and in the end", memory_mb())
    print(f"{len(plan)} batches, the first {list(batch.features.shape)}")


def again(*arguments: str) -> str:
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/an4/train"), help="feature store")
    parser.add_argument("--audio", type=Path, help="audio store of the same corpus")
    parser.add_argument("--noises", type=Path, help="audio store of noise")
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)
    parsed = parser.parse_args()
    if parsed.step:
        {"memory": memory, "million": million}[parsed.step[0]](Path(parsed.step[1]))
        return
    speeds(parsed.data, parsed.audio, parsed.noises)
    print(f"resident MB after epochs of {parsed.data}:", again("--step", "memory", str(parsed.data)))
    from preparation_scale import BANDS, write_million

    from asr.features import LogMelConfig
    from asr.store.layout import write_filterbank

    with tempfile.TemporaryDirectory() as name:
        write_million(Path(name, "million"))
        write_filterbank(Path(name, "million"), LogMelConfig(sample_rate=8_000, n_mels=BANDS))
        print("a million utterances:", again("--step", "million", str(Path(name, "million"))))


if __name__ == "__main__":
    main()
