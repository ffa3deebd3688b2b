"""Hostile configurations and keys: good ones with seeded faults.

Belongs here: making them, and reading them as the platform does. Does not belong here:
how many, and what becomes of them (a test).
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

from pcorr_assets.config.keys import check_llm_key, check_name_key, from_slug, to_slug
from pcorr_assets.config.loading import load_settings
from pcorr_assets.errors import PcorrError
from pcorr_assets_tests.inputs.outcome import Case

ROOT = Path(__file__).parents[2]
WITNESS = "pcorr-witness-of-code"

SMALL = """\
home: data
samples:
  web: &web
    files: ["texts/*.jsonl.gz"]
    id_column: url
    domain_column: domain
    pages_per_domain: 25
    reference_tokenizer: org/tokenizer@v1
  other: {<<: *web, seed: 7}
  published:
    matrix_csv: {bpb: bpb.csv, errors: errors.csv, level: page}
llms:
  - family: a
    dtype: float16
    slurm: {memory: 64G, time_limit: "01:00:00"}
    models:
      - org/name@step1
      - {name: org/other, revisions: [main, v2]}
      - {key: tiny/a, path: zoo/a}
benchmarks:
  arc_easy: {metric: acc, num_fewshot: 0}
  ppl: {metric: perplexity, limit: 100, task_path: tasks}
targets:
  both: {benchmarks: [arc_easy, ppl], combine: mean_rank, keep_ratio: 0.1}
selection: {level: domain, tokenizer: org/name, fasttext: {dim: 10}}
validation: {bootstrap: 20, go_stability: .5}
pools:
  crawl: {sample: web, files: pool/*.parquet, token_budget: 3e9}
compute:
  mode: slurm
  slurm:
    ssh: {host: login.example.org, user: me, port: 22}
    remote_base: /scratch/me
    environment: /scratch/env
automation: {refresh: "*/10 * * * *"}
"""

_SCALARS = (
    "~", "null", "true", "no", "5", "-1", "0", "1e999", ".nan", "-.inf", "9" * 5000, "0x1F",
    "''", "' '", '"\\0"', '"\\uD800"', '"\\n"', "2024-05-01", "24:00:00", "[]", "{}", "[[[]]]",
    "{a: {b: c}}", "!!python/object/apply:os.system ['touch WITNESS']", "!!python/name:os.system x",
    "!!set {a}", "!!binary aGk=", "!!int x", "*nobody", "*web", "&x [*x]", "../../etc/passwd",
    "/etc/passwd", "~root/x", "~nobody-at-all/x", "$(touch WITNESS)", "`touch WITNESS`",
    "'; touch WITNESS'", "a|b", "a...b", "a b", "ü", "\u202e", "%2e%2e", "x" * 300, "x/" * 3000,
    "https://a.b/c", "org/name@a@b", "|\n   block\n   text", "<<", "- x", "? x", "@x", "%x",
)  # fmt: skip
_BYTES = (
    b"\0", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\t", b"\r", b"\n", b"\n---\n", b"\n...\n",
    b": ",
    b"- ", b"[", b"{", b"}", b"'", b'"', b"&a ", b"*a ", b"!!x ", b"#", b"%YAML 9.9\n---\n", b"? ",
    b"<<: *web\n", b"\x85", b"\xe2\x80\xa8", b"\xed\xa0\x80", b"x" * 2000,
)  # fmt: skip
_KEY_PARTS = (
    "", ".", "..", "...", "/", "//", "@", "@@", "+", "-", "_", "a", "A", "main", "step1", "%2F",
    "%", "\\",
    "\0", "\n", " ", "|", "*", "?", "[", "'", '"', ";", "$(touch x)", "ü", "\u202e",
    "\ud800", "x" * 120, "~", "CON", "org/name", "etc/passwd",
)  # fmt: skip


def cases(seed: int, count: int) -> Iterator[Case]:
    """`count` configurations; the same seed gives the same ones."""
    sources = [SMALL, (ROOT / "configs" / "rpjv2.yaml").read_text("utf-8")]
    fixed = list(_fixed())
    yield from (Case(label, content) for label, content in fixed[:count])
    for number in range(count - len(fixed)):
        # Most are made of the small file: it has every section, and is read ten times as fast.
        chosen = random.Random(f"config {seed} {number}")
        text = sources[chosen.random() < 0.05]
        faults = [chosen.choice(_FAULTS) for _ in range(chosen.randint(1, 3))]
        content = text.encode()
        for fault in faults:
            content = fault(content, chosen)
        names = " + ".join(fault.__name__.strip("_") for fault in faults)
        yield Case(
            f"config {seed}/{number}: {names}", content.replace(b"WITNESS", WITNESS.encode())
        )


def read(content: bytes, folder: Path) -> object:
    """Read a configuration as every command does; its file is `pcorr.yaml` in `folder`."""
    path = folder / "pcorr.yaml"
    path.write_bytes(content)
    settings = load_settings(path)
    for key in (*settings.samples, *settings.llm_specs, *settings.targets, *settings.pools):
        check_place(key, settings.home)
    return settings


def check_place(key: str, home: Path) -> None:
    """The file of an accepted key lies in the folder that it is meant for, and nowhere else."""
    name = to_slug(key)
    if Path(name).name != name or os.path.normpath(home / name) != str(home / name):
        raise AssertionError(f"{key!r} leads out of the home as {name!r}")
    if from_slug(name) != key:
        raise AssertionError(f"{key!r} comes back as {from_slug(name)!r}")


def keys(seed: int, count: int) -> Iterator[str]:
    """`count` keys, most of which no partition may have."""
    for number in range(count):
        chosen = random.Random(f"key {seed} {number}")
        yield "".join(chosen.choice(_KEY_PARTS) for _ in range(chosen.randint(0, 6)))


def problem_of_key(key: str, home: Path) -> str | None:
    """What is wrong with how a key is taken: None if it is refused in words, or is safe."""
    for check in (check_llm_key, check_name_key):
        try:
            check_place(check(key), home)
        except PcorrError:
            continue
        except Exception as error:  # noqa: BLE001 - a raw error of any kind is looked for
            return f"{check.__name__}({key!r}): {type(error).__name__}: {error}"
    return None


def _fixed() -> Iterator[tuple[str, bytes]]:
    """What chance does not find: bombs, depths and encodings."""
    lists = "".join(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 9}]\n" for i in range(1, 10))
    merges = "".join(f"a{i}: &a{i} {{<<: [{f'*a{i - 1}, ' * 4}]}}\n" for i in range(1, 14))
    chain = "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 2000))
    yield "bomb of lists", f"a0: &a0 [x]\n{lists}".encode()
    yield "bomb of merges", f"a0: &a0 {{k: 1}}\n{merges}".encode()
    yield "long text used often", f"a: &a {'x' * 1000}\nb: [{'*a, ' * 20_000}]\n".encode()
    yield "chain of anchors", f"a0: &a0 [x]\n{chain}".encode()
    yield "deep flow", b"a: " + b"[" * 50_000
    yield "deep block", b"- " * 50_000
    yield "deep mapping", b"{a: " * 20_000
    yield "many values", b"[" + b"x, " * 40_000 + b"]"
    yield "too many bytes", b"#" * 1_500_000
    yield "UTF-16", SMALL.encode("utf-16")
    yield "UTF-16 without a mark", SMALL.encode("utf-16-le")
    yield "UTF-32", SMALL.encode("utf-32")
    yield "mark of UTF-8", b"\xef\xbb\xbf" + SMALL.encode()
    yield "Windows line ends", SMALL.replace("\n", "\r\n").encode()
    yield "old Macintosh line ends", SMALL.replace("\n", "\r").encode()
    yield "two documents", f"{SMALL}---\n{SMALL}".encode()
    yield "all keys twice", (SMALL + SMALL).encode()
    yield "empty", b""


def _replace_value(content: bytes, chosen: random.Random) -> bytes:
    lines = content.split(b"\n")
    row = chosen.randrange(len(lines))
    key, colon, _ = lines[row].partition(b":")
    if colon:
        lines[row] = key + b": " + chosen.choice(_SCALARS).encode("utf-8", "surrogatepass")
    return b"\n".join(lines)


def _replace_key(content: bytes, chosen: random.Random) -> bytes:
    lines = content.split(b"\n")
    row = chosen.randrange(len(lines))
    key, colon, value = lines[row].partition(b":")
    indent = key[: len(key) - len(key.lstrip())]
    new = chosen.choice(_SCALARS).encode("utf-8", "surrogatepass")
    lines[row] = indent + new + colon + value
    return b"\n".join(lines)


def _drop_line(content: bytes, chosen: random.Random) -> bytes:
    lines = content.split(b"\n")
    del lines[chosen.randrange(len(lines))]
    return b"\n".join(lines)


def _repeat_line(content: bytes, chosen: random.Random) -> bytes:
    lines = content.split(b"\n")
    lines.insert(chosen.randrange(len(lines)), chosen.choice(lines))
    return b"\n".join(lines)


def _indent_line(content: bytes, chosen: random.Random) -> bytes:
    lines = content.split(b"\n")
    row = chosen.randrange(len(lines))
    lines[row] = chosen.choice((b" ", b"  ", b"\t", b"      ")) + lines[row]
    return b"\n".join(lines)


def _insert_bytes(content: bytes, chosen: random.Random) -> bytes:
    at = chosen.randrange(len(content) + 1)
    return content[:at] + chosen.choice(_BYTES) + content[at:]


def _flip_byte(content: bytes, chosen: random.Random) -> bytes:
    if not content:
        return content
    at = chosen.randrange(len(content))
    return content[:at] + bytes([chosen.randrange(256)]) + content[at + 1 :]


def _cut_off(content: bytes, chosen: random.Random) -> bytes:
    return content[: chosen.randrange(len(content) + 1)]


_FAULTS = (
    _replace_value,
    _replace_value,
    _replace_value,
    _replace_key,
    _drop_line,
    _repeat_line,
    _indent_line,
    _insert_bytes,
    _flip_byte,
    _cut_off,
)
