"""The LLM as lm-eval asks it, without what lm-eval passes over in silence.

Belongs here: what is checked of requests and answers on their way between lm-eval and the
LLM. Does not belong here: which tasks are asked (`evaluation`), their items (`task_items`).

lm-eval gives a bare AssertionError or TypeError for what an LLM cannot be asked, and makes a
score of losses that are no numbers: the argmax of NaN is the first choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import normalize_gen_kwargs

from pcorr_assets.errors import PcorrError

Encoded = tuple[Any, list[int], list[int]]


# A decorator of lm-eval hides the type of its class.
_HFLM: Any = HFLM


class Harness(_HFLM):
    """lm-eval's own class for a loaded LLM; scores are the same to the last bit.

    `cut_prompts` and `asked` count prompts since `forget`: those whose beginning did not
    fit into the LLM's context, and all. `before_asking` is called when all prompts of a
    benchmark are made, before the LLM gets the first: what it raises saves the hours.
    """

    def __init__(self, label: str, **options: Any) -> None:
        self._label = label
        self.before_asking: Callable[[], object] = list
        self.forget()
        super().__init__(**options)

    def forget(self) -> None:
        """Begin a benchmark."""
        self.cut_prompts = 0
        self.asked = 0
        self._searched: set[int] = set()

    def used_batch_sizes(self) -> list[int]:
        """The fixed batch size, or those that lm-eval's search found for the benchmark."""
        return [self.batch_size] if self.batch_size != "auto" else sorted(self._searched)

    def _detect_batch_size(self, requests: Sequence[Any] | None = None, pos: int = 0) -> int:
        found = super()._detect_batch_size(requests, pos)
        self._searched.add(found)
        return found

    def notes(self) -> list[str]:
        """What a user should know of the benchmark that was asked last."""
        if not self.cut_prompts:
            return []
        return [
            f"{self.cut_prompts} of {self.asked} prompts are longer than the context of "
            f"{self._label} ({self.max_length} tokens): lm-eval cut off their beginning. LLMs of "
            "other contexts were asked something else; fewer examples (`num_fewshot`) make "
            "prompts shorter"
        ]

    @property
    def prefix_token_id(self) -> int:
        """The token before a text that nothing precedes."""
        if self._has_no_prefix():
            raise PcorrError(
                f"the tokenizer of {self._label} has neither a begin-of-text nor an end-of-text "
                "token, and this benchmark scores texts that nothing precedes. Name one in its "
                "tokenizer_config.json (`bos_token`, as its authors trained it), or leave the "
                "benchmark out for this LLM"
            )
        return super().prefix_token_id

    @property
    def eot_token_id(self) -> int:
        """The token at which an answer ends."""
        tokenizer: Any = self.tokenizer
        if tokenizer.eos_token_id is None:
            raise PcorrError(
                f"the tokenizer of {self._label} has no end-of-text token, and this benchmark "
                "lets the LLM write its answers. Name one in its tokenizer_config.json "
                "(`eos_token`), or leave the benchmark out for this LLM"
            )
        return super().eot_token_id

    def _has_no_prefix(self) -> bool:
        tokenizer: Any = self.tokenizer
        return tokenizer.bos_token_id is None and tokenizer.eos_token_id is None

    def tok_encode(
        self,
        string: str,
        add_special_tokens: bool | None = None,
        left_truncate_len: int | None = None,
        **options: Any,
    ) -> list[int]:
        """Token ids of a text, with the special tokens that the tokenizer adds."""
        if add_special_tokens is None and self._has_no_prefix():
            # lm-eval asks whether the text begins with that token already: it cannot.
            add_special_tokens = self.add_bos_token is not False
        return super().tok_encode(string, add_special_tokens, left_truncate_len, **options)

    def loglikelihood(
        self, requests: list[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Losses of given answers."""
        self.before_asking()
        return super().loglikelihood(requests, disable_tqdm=disable_tqdm)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Losses of whole texts."""
        self.before_asking()
        return super().loglikelihood_rolling(requests, disable_tqdm=disable_tqdm)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Answers that the LLM writes."""
        self.before_asking()
        for prompt, options in (request.args for request in requests):
            allowed = normalize_gen_kwargs(dict(options), self.max_gen_toks).get("max_gen_toks", 0)
            if allowed >= self.max_length:
                raise PcorrError(
                    f"the task asks for answers of {allowed} tokens, more than the context of "
                    f"{self._label} ({self.max_length}): set `max_gen_toks` in its "
                    "`generation_kwargs`"
                )
            self._count(len(self.tok_encode(prompt)) > self.max_length - allowed)
        return super().generate_until(requests, disable_tqdm=disable_tqdm)

    def _loglikelihood_tokens(
        self,
        requests: Sequence[Encoded],
        disable_tqdm: bool = False,
        override_bs: int | None = None,
    ) -> list[tuple[float, bool]]:
        for text, prompt, answer in requests:
            self._refuse_impossible(text, prompt, answer)
            # A text in windows (no `text`) is cut by design.
            if text is not None:
                self._count(len(prompt) + len(answer) > self.max_length + 1)
        found = super()._loglikelihood_tokens(list(requests), disable_tqdm, override_bs)
        undefined = sum(math.isnan(loss) for loss, _ in found)
        if undefined:
            raise PcorrError(
                f"{self._label} gives no number for {undefined} of {len(found)} answers (NaN), so "
                "its choices would be arbitrary: try another `dtype` (float16 overflows in some "
                "LLMs), or load it by hand and look at its losses"
            )
        return found

    def _count(self, is_cut: bool) -> None:
        self.asked += 1
        self.cut_prompts += is_cut

    def _refuse_impossible(self, text: Any, prompt: list[int], answer: list[int]) -> None:
        what = "" if text is None else f" (it begins {_beginning(text[1])})"
        if not answer:
            raise PcorrError(
                f"an answer has no tokens of its own for {self._label}{what}: it is empty, or one "
                "token of this tokenizer covers the end of the prompt and all of it. Give every "
                "item an answer (`doc_to_target`, `doc_to_choice`), set apart by "
                "`target_delimiter`"
            )
        if not prompt:
            raise PcorrError(f"a prompt has no tokens for {self._label}: see `doc_to_text`")
        if len(answer) > self.max_length:
            raise PcorrError(
                f"an answer has {len(answer)} tokens{what}, more than the context of "
                f"{self._label} ({self.max_length}), so it cannot be scored: leave out items with "
                "such answers (`process_docs` of the task), or this LLM"
            )


def _beginning(text: object) -> str:
    shown = str(text)
    return repr(shown if len(shown) <= 40 else f"{shown[:40]}...")
