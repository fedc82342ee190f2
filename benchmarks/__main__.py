"""Run every benchmark and print Markdown."""

from __future__ import annotations

import os
import platform

from benchmarks import batches, imports, modes, nft, serving

SUITE = {
    "Importing": imports.run,
    "Modes against plain generate()": modes.run,
    "Batch size": batches.run,
    "Reward server": serving.run,
    "NFT against the published loop": nft.run,
}


def main() -> None:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for title, work in SUITE.items():
        print(f"\n## {title}\n\n{work()}", flush=True)


if __name__ == "__main__":
    main()
