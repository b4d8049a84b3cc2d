"""Small models of transformers with random weights, one of each family that can be converted."""

import json
from typing import Any

import tokenizers
import torch
import transformers

LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAOINSHR'"]
PIECES = ["<unk>", "▁the", "▁a", "s", "ing", "▁", "e", "t", "n", "o", "▁of", "r", "<pad>"]
SMALL: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
CONVOLUTIONS = {
    "conv_dim": [12] * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
    "do_stable_layer_norm": True,
    "feat_extract_norm": "layer",
}  # fmt: skip
GROUP_NORM = {**CONVOLUTIONS, "feat_extract_norm": "group", "do_stable_layer_norm": False}
ENCODER = {**SMALL, "num_key_value_heads": 2, "subsampling_conv_channels": 8, "conv_kernel_size": 5}

# Padding changes the values of Wav2Vec2Conformer and Data2VecAudio in transformers, too.
# Name of the class without ForCTC → settings, extractor and its settings; whether utterances may share a batch.
FAMILIES: dict[str, tuple[dict[str, Any], str, dict[str, bool], bool]] = {
    "Wav2Vec2": (CONVOLUTIONS, "Wav2Vec2FeatureExtractor", {"return_attention_mask": True}, True),
    "Wav2Vec2 of a group norm": (GROUP_NORM, "Wav2Vec2FeatureExtractor", {}, False),
    "Wav2Vec2 with adapters": (
        CONVOLUTIONS | {"adapter_attn_dim": 4}, "Wav2Vec2FeatureExtractor", {"return_attention_mask": True}, True,
    ),
    "Hubert": (CONVOLUTIONS, "Wav2Vec2FeatureExtractor", {"return_attention_mask": True, "do_normalize": False}, True),
    "WavLM": (CONVOLUTIONS, "Wav2Vec2FeatureExtractor", {"return_attention_mask": True}, True),
    "Wav2Vec2Conformer": (
        CONVOLUTIONS | {"conv_depthwise_kernel_size": 5}, "Wav2Vec2FeatureExtractor",
        {"return_attention_mask": True}, False,
    ),
    "Data2VecAudio": (
        CONVOLUTIONS | {"conv_pos_kernel_size": 5}, "Wav2Vec2FeatureExtractor", {"return_attention_mask": True}, False,
    ),
    "UniSpeech": (CONVOLUTIONS, "Wav2Vec2FeatureExtractor", {"return_attention_mask": True}, True),
    "UniSpeechSat": (CONVOLUTIONS, "Wav2Vec2FeatureExtractor", {"return_attention_mask": True}, True),
    "Wav2Vec2Bert": (
        {"feature_projection_input_dim": 160, "conv_depthwise_kernel_size": 5}, "SeamlessM4TFeatureExtractor", {}, True,
    ),
    "Parakeet": ({}, "ParakeetFeatureExtractor", {}, True),
    "Lasr": ({}, "LasrFeatureExtractor", {}, True),
}  # fmt: skip


def make_model(family, folder):
    """Save a small model with random weights and its processor's files; return it and its feature extractor."""
    name = family.split()[0]
    settings, extractor_name, extractor_settings, _ = FAMILIES[family]
    tokens = PIECES if name in ("Parakeet", "Lasr") else LETTERS
    pad = tokens.index("<pad>")
    kind = getattr(transformers, f"{name}CTCConfig" if tokens is PIECES else f"{name}Config")
    shape = {"encoder_config": {**ENCODER, **settings}} if tokens is PIECES else {**SMALL, **settings}
    torch.manual_seed(3)
    model = getattr(transformers, f"{name}ForCTC")(kind(vocab_size=len(tokens), pad_token_id=pad, **shape)).eval()
    with torch.no_grad():
        head = getattr(model, "lm_head", None) or model.ctc_head
        # So that not all frames say the same.
        for parameter in head.parameters():
            parameter.mul_(40)
        # Processors write special tokens, and the decoder here does not.
        head.bias[[tokens.index(token) for token in tokens if token in ("<s>", "</s>", "<unk>")]] = -60.0
    model.save_pretrained(folder)
    extractor = getattr(transformers, extractor_name)(**extractor_settings)
    extractor.save_pretrained(folder)
    if tokens is LETTERS:
        (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    else:
        pieces = tokenizers.Tokenizer(tokenizers.models.Unigram([(token, 0.0) for token in tokens], unk_id=0))
        pieces.decoder = tokenizers.decoders.Metaspace()
        pieces.save(str(folder / "tokenizer.json"))
    return model, extractor, tokens


def original_text(tokens, folder, ids):
    """Return what the tokenizer of the original makes of the best label of each frame."""
    if tokens is LETTERS:
        return transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).decode(ids)
    tokenizer = transformers.ParakeetTokenizer(tokenizer_file=str(folder / "tokenizer.json"), pad_token="<pad>")
    return tokenizer.decode(ids, skip_special_tokens=True)
