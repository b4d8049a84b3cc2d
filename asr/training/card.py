"""The model card: Markdown with the YAML header that Hugging Face reads."""

from asr.transcription.bundle import Bundle


def model_card(bundle: Bundle) -> str:
    """Return ``README.md`` of a bundle; results are those measured so far, none before evaluation."""
    results = "".join(
        f"      - task: {{type: automatic-speech-recognition}}\n"
        f"        dataset: {{name: {bundle.dataset}, type: {bundle.dataset}, split: {result['split']}}}\n"
        f"        metrics: [{{type: wer, name: 'WER, {result['decoder']}', value: {result['wer']:.2f}}}]\n"
        for result in bundle.results
    )
    index = f"model-index:\n  - name: {bundle.name}\n    results:\n{results}" if results else ""
    table = "".join(
        f"| {result['split']} | {result['decoder']} | {result['wer']:.2f} | {result['low']:.1f}–{result['high']:.1f} "
        f"| {result['utterances']} |\n"
        for result in bundle.results
    )
    heading = "| set | decoder | WER % | 95 % interval | utterances |\n|---|---|---|---|---|\n"
    measured = heading + table if table else ""
    cell = ("bidirectional " if bundle.model.bidirectional else "") + bundle.model.cell.upper().replace("_", " ")
    return f"""---
language: {bundle.language}
license: {bundle.licence}
library_name: ctc-asr
pipeline_tag: automatic-speech-recognition
datasets: [{bundle.dataset}]
metrics: [wer]
{index}---

# {bundle.name}

{bundle.description}

- **Features:** {bundle.features.n_mels} log-mel bands at {bundle.features.sample_rate} Hz, a frame every \
{1000 * bundle.features.hop_seconds:g} ms
- **Network:** two convolutions (time reduced {bundle.model.time_reduction}-fold), \
{bundle.model.num_layers} × {bundle.model.hidden_size} {cell}, trained with CTC
- **Output:** {len(bundle.tokenizer)} tokens ({bundle.tokenizer.kind}), one frame every \
{1000 * bundle.frame_seconds:g} ms

    asr transcribe --model DIRECTORY recording.wav

{measured}"""
