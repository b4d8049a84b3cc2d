"""Speech to text, from public corpora to words.

    corpus → audio → features → store → batches → model → log-probs → decoder → transcript → WER

Each arrow lives in the module of its name, and no module imports one that comes after it in the flow.
"""

__version__ = "0.1.0"
