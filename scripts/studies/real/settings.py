"""How large the study is, as data.

Belongs here: every number that one may want to change, and the targets. Does not belong here:
what is done with them.
"""

from __future__ import annotations

from dataclasses import dataclass

from pcorr_assets.config.texts import METHODS
from pcorr_assets.demo.train import Schedule, Shape


@dataclass(frozen=True)
class Target:
    """Text that an LLM should be good at: of a language, of a kind, or of both."""

    name: str
    words: str
    language: str | None = None
    kind: str | None = None

    def has(self, language: str, kind: str) -> bool:
        """Whether text of this language and kind belongs to it."""
        return self.language in (None, language) and self.kind in (None, kind)


@dataclass(frozen=True)
class Family:
    """LLMs with one architecture and one tokenizer, of the same number of steps."""

    name: str
    architecture: str
    vocab_size: int


@dataclass(frozen=True)
class StudySettings:
    """All settings; counts of documents are for one domain unless they say otherwise.

    `document_characters` is the length at which files are cut into documents, `file_documents`
    how many are taken of one file. A stratum is all text of one language and kind.
    `token_budget` is what each selection holds and what each trained LLM reads of it, in tokens of
    one tokenizer. Code is that of the Python
    packages named in `code_packages`, or of all that are installed. `methods` stand beside the
    platform's filter.
    """

    targets: tuple[Target, ...]
    families: tuple[Family, ...]
    zoo_widths: tuple[int, ...]
    zoo_schedule: Schedule
    proxy_shapes: dict[str, Shape]
    seed: int = 0
    document_characters: int = 1500
    least_characters: int = 300
    file_documents: int = 6
    least_documents: int = 4
    most_documents: int = 40
    stratum_domains: int = 100
    sample_pages: int = 4
    chunk_tokens: int = 96
    vocab_size: int = 4000
    tokenizer_documents: int = 3000
    item_count: int = 250
    training_item_count: int = 250
    keep_ratio: float = 0.05
    token_budget: int = 250_000
    proxy_seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    held_out_documents: int = 100
    permutations: int = 1000
    bootstrap: int = 200
    halvings: int = 50
    fasttext_epochs: int = 10
    fasttext_buckets: int = 200_000
    processes: int = 2
    code_packages: tuple[str, ...] = ()
    methods: tuple[str, ...] = METHODS


FAMILIES = (
    Family("gpt2", "gpt2", 2600),
    Family("llama", "llama", 3000),
    Family("neox", "gpt_neox", 2400),
    Family("qwen2", "qwen2", 3200),
    Family("opt", "opt", 2800),
    Family("mistral", "mistral", 2500),
    Family("olmo2", "olmo2", 3400),
    Family("stablelm", "stablelm", 2900),
    Family("llama-wide", "llama", 3800),
    Family("qwen2-wide", "qwen2", 3600),
    Family("mistral-wide", "mistral", 3500),
    Family("olmo2-narrow", "olmo2", 2200),
)

FULL = StudySettings(
    targets=(
        Target("german", "German text of any kind", language="de"),
        Target("code", "source code in Python", kind="code"),
        Target("documentation", "documentation in English", language="en", kind="documentation"),
    ),
    families=FAMILIES,
    zoo_widths=(48, 80),
    zoo_schedule=Schedule(step_count=1250, batch_size=5, sequence_length=112),
    proxy_shapes={
        "small": Shape("llama", width=48, layer_count=2, head_count=3),
        "larger": Shape("llama", width=96, layer_count=3, head_count=6),
    },
)

# What installed packages ship, in seconds: the chain with every stage, and no finding.
SMALL = StudySettings(
    targets=(Target("code", "source code in Python", kind="code"),),
    families=FAMILIES[:4],
    zoo_widths=(16, 32),
    zoo_schedule=Schedule(step_count=12, batch_size=4, sequence_length=64),
    proxy_shapes={"small": Shape("llama", width=16, layer_count=1, head_count=1)},
    document_characters=600,
    file_documents=4,
    least_documents=3,
    most_documents=10,
    stratum_domains=14,
    sample_pages=3,
    chunk_tokens=96,
    vocab_size=600,
    tokenizer_documents=60,
    item_count=30,
    training_item_count=20,
    keep_ratio=0.3,
    token_budget=6000,
    proxy_seeds=(1, 2),
    held_out_documents=6,
    permutations=20,
    bootstrap=20,
    halvings=4,
    fasttext_epochs=5,
    fasttext_buckets=2000,
    processes=1,
    code_packages=("jinja2", "requests", "rich", "networkx"),
    # One that learns from the benchmarks' training text, and one that asks the LLMs.
    methods=("random", "classifier", "mean_bpb"),
)
