"""On how many threads a benchmark works: one, where processor time is counted."""

import argparse
import os

import torch


def on_one_thread(parser: argparse.ArgumentParser) -> None:
    """Let torch work on one thread; the parser ends with an error where numpy would work on more."""
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        parser.error("set OPENBLAS_NUM_THREADS=1: numpy's products read it as it starts")
    torch.set_num_threads(1)
