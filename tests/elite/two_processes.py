"""What each of two processes does: two_processes.py PROGRAM [+ PROGRAM]...

A program is `batch_norm FOLDER`, where the rows of a batch norm lie that both share, or `elite`
with its arguments.
"""

import sys
from itertools import groupby
from pathlib import Path

import torch
import torch.distributed as dist
from accelerate import PartialState

from elite.cli import app
from elite.engine.batch_norm import SyncBatchNorm


def synchronized(folder: Path, rank: int) -> None:
    """One batch norm over both shares of the rows: output, gradients, running figures."""
    rows = torch.load(folder / "rows.pt")
    share = rows["shares"][rank]
    norm = SyncBatchNorm.like(torch.nn.BatchNorm1d(rows["x"].shape[1]))
    x = rows["x"][share].requires_grad_()
    y = norm(x)
    (y * rows["weight"][share]).sum().backward()
    # The weights' gradients are summed by whoever trains; here by hand.
    dist.all_reduce(norm.weight.grad)
    state = {"y": y.detach(), "x": x.grad, "slope": norm.weight.grad, **norm.state_dict()}
    torch.save(state, folder / f"norm_{rank}.pt")


if __name__ == "__main__":
    state = PartialState(cpu=True)
    assert (state.num_processes, state.device.type) == (2, "cpu")
    for _, part in groupby(sys.argv[1:], "+".__ne__):
        program, *arguments = part
        if program == "batch_norm":
            synchronized(Path(arguments[0]), state.process_index)
        elif program == "elite":
            app(arguments, standalone_mode=False)
