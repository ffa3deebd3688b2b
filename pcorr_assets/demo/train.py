"""Training a tiny LLM from scratch: architectures, tokenizer, optimiser, loop.

Belongs here: everything between documents and a trained model in memory, the same for
the zoo and for the comparison of selections. Does not belong here: which LLMs there are
and what they read (`zoo`), or anything on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

END_OF_TEXT = "<|endoftext|>"
CONTEXT_LENGTH = 256
WARM_UP_STEPS = 20
MATRIX_LEARNING_RATE = 0.03
EMBEDDING_LEARNING_RATE = 0.01


@dataclass(frozen=True)
class Shape:
    """The size of a model: `architecture` is a `model_type` of transformers."""

    architecture: str
    width: int
    layer_count: int
    head_count: int


@dataclass(frozen=True)
class Schedule:
    """How long and in what portions: `step_count` steps of `batch_size` sequences."""

    step_count: int
    batch_size: int
    sequence_length: int

    @property
    def token_count(self) -> int:
        """Tokens read in training."""
        return self.step_count * self.batch_size * self.sequence_length


def train_tokenizer(texts: Sequence[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of `vocab_size` tokens, ready to be saved as a tokenizer folder."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        clean_up_tokenization_spaces=False,
    )


def make_model(shape: Shape, vocab_size: int, seed: int) -> PreTrainedModel:
    """An untrained model in float32, its weights drawn with `seed`."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        shape.architecture,
        vocab_size=vocab_size,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=None,
        **_ARCHITECTURES[shape.architecture](shape),
    )
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config)


def token_stream(tokenizer: PreTrainedTokenizerFast, documents: Sequence[str]) -> torch.Tensor:
    """All documents as one row of token ids, an end-of-text token before each."""
    import torch

    ids: list[int] = []
    for encoding in tokenizer.backend_tokenizer.encode_batch(list(documents)):
        ids.append(0)
        ids.extend(encoding.ids)
    return torch.tensor(ids, dtype=torch.long)


def train(
    model: PreTrainedModel,
    stream: torch.Tensor,
    schedule: Schedule,
    seed: int,
    after_step: Callable[[], None] = lambda: None,
) -> float:
    """Train `model` in place on `stream` (1-D token ids); the mean loss of the last tenth.

    Sequences are cut from the stream and read in a seeded order, again and again if the
    stream is shorter than the schedule. Hidden matrices are moved by Muon, which learns
    which word goes with which several times sooner than AdamW at this size; the rest by
    AdamW. It takes one thread, so that one seed gives the same weights anywhere on a
    machine, and several trainings side by side do not wait for each other.
    """
    length = schedule.sequence_length
    count = len(stream) // length
    if count < 1:
        raise ValueError(f"{len(stream)} tokens do not fill one sequence of {length}")
    sequences = stream[: count * length].view(count, length)
    with _one_thread():
        losses = _descend(model, sequences, schedule, seed, after_step)
    return fmean(losses[-max(1, len(losses) // 10) :])


def _descend(
    model: PreTrainedModel,
    sequences: torch.Tensor,
    schedule: Schedule,
    seed: int,
    after_step: Callable[[], None],
) -> list[float]:
    """All steps of the schedule; the loss of each."""
    import torch
    from torch.nn.functional import cross_entropy

    rng = Random(f"{seed}/order")
    order: list[int] = []
    optimisers = _optimisers(model)
    base_rates = [[group["lr"] for group in one.param_groups] for one in optimisers]
    losses: list[float] = []
    model.train()
    for step in range(schedule.step_count):
        factor = min(1.0, (step + 1) / WARM_UP_STEPS) * (1 - step / schedule.step_count)
        for optimiser, rates in zip(optimisers, base_rates, strict=True):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * factor
        while len(order) < schedule.batch_size:
            order.extend(rng.sample(range(len(sequences)), len(sequences)))
        batch = sequences[order[: schedule.batch_size]]
        del order[: schedule.batch_size]
        logits = model(input_ids=batch, use_cache=False).logits
        loss = cross_entropy(logits[:, :-1].flatten(0, 1), batch[:, 1:].flatten())
        model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
        losses.append(loss.item())
        after_step()
    model.eval()
    return losses


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _optimisers(model: PreTrainedModel) -> list[torch.optim.Optimizer]:
    import torch

    embeddings = {
        id(weight)
        for module in model.modules()
        if isinstance(module, torch.nn.Embedding)
        for weight in module.parameters(recurse=False)
    }
    matrices = [p for p in model.parameters() if p.ndim == 2 and id(p) not in embeddings]
    others = [p for p in model.parameters() if p.ndim != 2 or id(p) in embeddings]
    return [
        torch.optim.Muon(
            matrices, lr=MATRIX_LEARNING_RATE, momentum=0.9, weight_decay=0.01, ns_steps=3
        ),
        torch.optim.AdamW(others, lr=EMBEDDING_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _gpt2(shape: Shape) -> dict[str, object]:
    return {
        "n_embd": shape.width,
        "n_layer": shape.layer_count,
        "n_head": shape.head_count,
        "n_positions": CONTEXT_LENGTH,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "initializer_range": 0.05,
    }


def _opt(shape: Shape) -> dict[str, object]:
    return {
        "hidden_size": shape.width,
        "word_embed_proj_dim": shape.width,
        "ffn_dim": 3 * shape.width,
        "num_hidden_layers": shape.layer_count,
        "num_attention_heads": shape.head_count,
        "max_position_embeddings": CONTEXT_LENGTH,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "init_std": 0.05,
    }


def _llama_like(shape: Shape) -> dict[str, object]:
    return {
        "hidden_size": shape.width,
        "intermediate_size": 3 * shape.width,
        "num_hidden_layers": shape.layer_count,
        "num_attention_heads": shape.head_count,
        "num_key_value_heads": shape.head_count,
        "max_position_embeddings": CONTEXT_LENGTH,
        "tie_word_embeddings": True,
        "initializer_range": 0.05,
    }


def _neox(shape: Shape) -> dict[str, object]:
    return {
        "hidden_size": shape.width,
        "intermediate_size": 3 * shape.width,
        "num_hidden_layers": shape.layer_count,
        "num_attention_heads": shape.head_count,
        "max_position_embeddings": CONTEXT_LENGTH,
        "tie_word_embeddings": True,
        "initializer_range": 0.05,
    }


_ARCHITECTURES: dict[str, Callable[[Shape], dict[str, object]]] = {
    "gpt2": _gpt2,
    "opt": _opt,
    "llama": _llama_like,
    "mistral": _llama_like,
    "qwen2": _llama_like,
    "olmo2": _llama_like,
    "stablelm": _llama_like,
    "gpt_neox": _neox,
}
