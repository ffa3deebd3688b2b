"""Tiny random LLMs and tokenizers, built on the spot, for tests of scoring and evaluation."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BambaConfig,
    BloomConfig,
    CLIPVisionConfig,
    CohereConfig,
    FalconConfig,
    FalconH1Config,
    Gemma2Config,
    Gemma3Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoConfig,
    GPTNeoXConfig,
    GptOssConfig,
    GraniteConfig,
    JambaConfig,
    LlamaConfig,
    LlavaConfig,
    Mamba2Config,
    MambaConfig,
    MistralConfig,
    MixtralConfig,
    OlmoeConfig,
    OPTConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3NextConfig,
    RecurrentGemmaConfig,
    RwkvConfig,
    XGLMConfig,
)

from pcorr_assets.config import LLMSpec
from pcorr_assets.lm.checkpoints import model_class
from pcorr_assets.lm.scoring import ChunkTexts
from pcorr_assets.text.chunked_dataset import chunk_ids_sha256
from pcorr_assets.warehouse import TABLES, Warehouse

VOCABULARY = 320
TEXTS = [
    "The harbour master wrote down every ship that came in with the tide.",
    "a",
    "",
    "Zwei Züge fuhren nach Köln, einer kam an. 日本語のテキスト。",
    "def add(a, b):\n    return a + b\n",
    "rain " * 40,
    "One short line.",
    "Prices rose by 3.5 % in May, fell in June, and stood still until winter came back.",
    "🙂🙃 emoji and \t tabs \u0000 and controls",
    "x" * 90,
]

_CORPUS = [
    "The quick brown fox jumps over the lazy dog and runs away from the rain.",
    "Ships came in with the tide; prices rose in May and fell in June.",
    "def function(a, b): return a + b",
    *TEXTS,
] * 4

SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "initializer_range": 0.2,
}
GROUPED: dict[str, Any] = {**SHAPE, "num_key_value_heads": 1, "max_position_embeddings": 256}

TOWER: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
    "num_attention_heads": 1, "image_size": 8, "patch_size": 4, "projection_dim": 16,
}  # fmt: skip

CONFIGS: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=2, n_positions=256,
        initializer_range=0.2,
    ),
    "llama": lambda: LlamaConfig(**GROUPED),
    "llama_tied": lambda: LlamaConfig(**GROUPED, tie_word_embeddings=True),
    "qwen2": lambda: Qwen2Config(**GROUPED),
    "gpt_neox": lambda: GPTNeoXConfig(**SHAPE, max_position_embeddings=256),
    "mistral_window": lambda: MistralConfig(**GROUPED, sliding_window=8),
    "gemma2_softcap": lambda: Gemma2Config(
        **GROUPED, head_dim=16, final_logit_softcapping=3.0, sliding_window=8
    ),
    "cohere_scale": lambda: CohereConfig(**GROUPED, logit_scale=0.25),
    "granite_scale": lambda: GraniteConfig(**GROUPED, logits_scaling=4.0),
    "opt": lambda: OPTConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        ffn_dim=64, max_position_embeddings=256, word_embed_proj_dim=16, init_std=0.2,
    ),
    "bloom": lambda: BloomConfig(
        vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=2, initializer_range=0.2
    ),
    "xglm": lambda: XGLMConfig(
        vocab_size=VOCABULARY, d_model=32, num_layers=2, attention_heads=2, ffn_dim=64,
        max_position_embeddings=256, init_std=0.2,
    ),
    "mamba": lambda: MambaConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=4,
        initializer_range=0.2,
    ),
    "mamba2": lambda: Mamba2Config(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=8, num_heads=4,
        head_dim=16, n_groups=1, chunk_size=16, initializer_range=0.2,
    ),
    "gpt_neo_window": lambda: GPTNeoConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_layers=2, num_heads=2, window_size=8,
        attention_types=[[["global", "local"], 1]], max_position_embeddings=256,
        initializer_range=0.2,
    ),
    "falcon_alibi": lambda: FalconConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        alibi=True, initializer_range=0.2,
    ),
    "gemma3_window": lambda: Gemma3TextConfig(
        **GROUPED, head_dim=16, sliding_window=8,
        layer_types=["sliding_attention", "full_attention"],
    ),
    "mixtral_moe": lambda: MixtralConfig(**GROUPED, num_local_experts=4, num_experts_per_tok=2),
    "olmoe_moe": lambda: OlmoeConfig(**GROUPED, num_experts=4, num_experts_per_tok=2),
    "gpt_oss_moe_window": lambda: GptOssConfig(
        **GROUPED, head_dim=16, num_local_experts=4, num_experts_per_tok=2, sliding_window=8,
        layer_types=["sliding_attention", "full_attention"],
    ),
    "rwkv": lambda: RwkvConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, attention_hidden_size=32,
        context_length=256,
    ),
    "recurrent_gemma_hybrid": lambda: RecurrentGemmaConfig(
        **{name: value for name, value in SHAPE.items() if name != "num_hidden_layers"},
        num_hidden_layers=3, num_key_value_heads=1, lru_width=32, attention_window_size=8,
    ),
    "jamba_hybrid": lambda: JambaConfig(
        **GROUPED, num_experts=2, num_experts_per_tok=1, attn_layer_period=2, attn_layer_offset=1,
        expert_layer_period=2, expert_layer_offset=1, mamba_d_state=4, mamba_d_conv=4,
        mamba_expand=2, mamba_dt_rank=4, use_mamba_kernels=False,
    ),
    "bamba_hybrid": lambda: BambaConfig(
        **GROUPED, attn_layer_indices=[1], mamba_n_heads=4, mamba_d_head=16, mamba_d_state=8,
        mamba_n_groups=1, mamba_chunk_size=16,
    ),
    "falcon_h1_hybrid": lambda: FalconH1Config(
        **GROUPED, mamba_d_ssm=64, mamba_n_heads=4, mamba_d_head=16, mamba_d_state=8,
        mamba_n_groups=1, mamba_chunk_size=16,
    ),
    "qwen3_next_hybrid_moe": lambda: Qwen3NextConfig(
        **GROUPED, head_dim=16, linear_num_value_heads=2, linear_num_key_heads=2,
        linear_key_head_dim=16, linear_value_head_dim=16, num_experts=2, num_experts_per_tok=1,
        moe_intermediate_size=32, shared_expert_intermediate_size=32,
        layer_types=["linear_attention", "full_attention"],
    ),
    "llava_multimodal": lambda: LlavaConfig(
        text_config=LlamaConfig(**GROUPED), vision_config=CLIPVisionConfig(**TOWER),
        image_token_index=VOCABULARY - 1,
    ),
    "gemma3_multimodal": lambda: Gemma3Config(
        text_config={**GROUPED, "head_dim": 16, "sliding_window": 8}, mm_tokens_per_image=4,
        vision_config={**TOWER, "model_type": "siglip_vision_model"},
    ),
}  # fmt: skip


def tiny_model(architecture: str, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A random model of the architecture, with large weights so that losses differ."""
    torch.manual_seed(seed)
    config = CONFIGS[architecture]()
    for name, value in changes.items():
        setattr(config, name, value)
    return model_class(config).from_config(config).eval()


@functools.cache
def _byte_bpe() -> str:
    """A byte-level BPE, which knows every text, without any special token in its output."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer.to_str()


def byte_tokenizer(template: str = "$A", **options: Any) -> PreTrainedTokenizerFast:
    """Byte-level BPE that puts specials where `template` says, as in `<s> $A </s>`."""
    backend = Tokenizer.from_str(_byte_bpe())
    backend.post_processor = processors.TemplateProcessing(  # pyright: ignore
        single=template, special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    specials: dict[str, Any] = {"bos_token": "<s>", "eos_token": "</s>", **options}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **specials)


def word_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of whole words that does not know most of them."""
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "the": 1, "The": 2, "and": 3}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")


def save_llm(
    folder: Path,
    architecture: str = "gpt2",
    *,
    seed: int = 0,
    tokenizer: PreTrainedTokenizerFast | None = None,
    **changes: Any,
) -> Path:
    """A folder with a tiny LLM, as `save_pretrained` writes it."""
    tiny_model(architecture, seed, **changes).save_pretrained(folder)
    (tokenizer or byte_tokenizer()).save_pretrained(folder)
    return folder


def edit_config(folder: Path, **changes: Any) -> None:
    """Change entries of a saved model's config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def plain_losses(model: PreTrainedModel, tokenizer: Any, texts: list[str]) -> list[float]:
    """The plain formula: `outputs.loss` of transformers, one text at a time."""
    losses = []
    for text in texts:
        ids = torch.tensor([tokenizer(text)["input_ids"]], dtype=torch.long)
        if ids.shape[1] < 2 or not text:
            losses.append(float("nan"))
            continue
        with torch.inference_mode():
            losses.append(float(model(input_ids=ids, labels=ids).loss))
    return losses


def chunk_table(sample: str, texts: list[str]) -> pa.Table:
    """A `chunks` table of one-chunk pages with these texts."""
    count = len(texts)
    return pa.table(
        {
            "sample": [sample] * count,
            "chunk_id": _chunk_ids(texts),
            "page_id": [f"page-{index:04d}" for index in range(count)],
            "chunk_index": [0] * count,
            "domain": [None] * count,
            "text": texts,
            "byte_count": [len(text.encode()) for text in texts],
            "reference_token_count": [len(text.split()) for text in texts],
        },
        schema=TABLES["chunks"].schema,
    )


def write_chunks(home: Path, sample: str, texts: list[str]) -> str:
    """Materialise a sample of these texts; returns its chunks_sha256."""
    sha256 = chunk_ids_sha256(_chunk_ids(texts))
    table = chunk_table(sample, texts)
    Warehouse(home).write("chunks", (sample,), table, {"chunks_sha256": sha256})
    return sha256


def chunk_texts(texts: list[str], sample: str = "sample") -> ChunkTexts:
    """These texts as the scoring takes them."""
    return ChunkTexts(
        sample,
        _chunk_ids(texts),
        texts,
        np.asarray([len(text.encode()) for text in texts], dtype=np.int64),
        chunk_ids_sha256(_chunk_ids(texts)),
    )


def _chunk_ids(texts: list[str]) -> list[str]:
    """Ids that tell texts apart, as those of `chunked_dataset` do."""
    return [
        f"chunk-{index:04d}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        for index, text in enumerate(texts)
    ]


def local_spec(key: str, path: Path, **options: Any) -> LLMSpec:
    """The settings of a local LLM."""
    return LLMSpec(key=key, family="tiny", path=path, **options)


def words(count: int, length: int, seed: int = 0) -> list[str]:
    """`count` texts of 1 to `length` random words."""
    random = np.random.default_rng(seed)
    stock = " ".join(_CORPUS[:3]).split()
    return [
        " ".join(random.choice(stock, size=int(random.integers(1, length + 1))))
        for _ in range(count)
    ]
