"""`transformers serve` with a torchvision that lies outside the environment.

    python -m tests.core.serve_checkpoint TORCHVISION_FOLDER [arguments of transformers serve]

transformers builds the processor of a Qwen3-VL only where torchvision can be imported. The stock wheel's
compiled half does not load beside every torch (the CPU build, for one). Then two operators that
torchvision's Python half asks for are declared here, which serving never calls, and Pillow opens images.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps

OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
DECLARED = torch.library.Library("torchvision", "FRAGMENT")
"""Operators live as long as this object does."""


def loads(folder: Path) -> bool:
    """Whether the compiled half fits this torch."""
    try:
        for compiled in (folder / "torchvision").glob("*.so"):
            torch.ops.load_library(compiled)
    except OSError:
        return False
    return hasattr(torch.ops.torchvision, "nms")


def decode_image(content: torch.Tensor, mode: Any = None, apply_exif_orientation: bool = False) -> torch.Tensor:
    """What torchvision.io.decode_image does for an RGB image: channels, rows, columns."""
    opened = Image.open(io.BytesIO(content.numpy().tobytes()))
    image = (ImageOps.exif_transpose(opened) if apply_exif_orientation else opened).convert("RGB")
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.reshape(image.height, image.width, 3).permute(2, 0, 1).contiguous()


def main() -> None:
    folder = Path(sys.argv.pop(1))
    sys.path.append(str(folder))
    if not loads(folder):
        for operator in OPERATORS:
            DECLARED.define(operator)
        import torchvision.io

        torchvision.io.decode_image = decode_image
    from transformers.cli.transformers import app

    sys.argv.insert(1, "serve")
    app()  # and not its main(), which asks the network for news first


if __name__ == "__main__":
    main()
