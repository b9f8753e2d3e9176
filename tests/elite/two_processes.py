"""What each process of test_distributed.py does: two_processes.py FOLDER [arguments of elite]."""

import sys
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
    synchronized(Path(sys.argv[1]), state.process_index)
    app(sys.argv[2:], standalone_mode=False)
