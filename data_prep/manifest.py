"""Your own data: NeMo manifests, Kaldi directories, DeepSpeech CSV, other tables, folders of audio with .txt beside it.

python data_prep/manifest.py train=train.jsonl dev=dev.jsonl --out data/mine
python data_prep/manifest.py clips.csv --columns audio=file text=said --hold-out speaker --out data/mine
"""

from asr.preparation.command import manifest_main

if __name__ == "__main__":
    manifest_main()
