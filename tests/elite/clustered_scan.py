"""Scans without a file."""

import torch


def scan(n: int, seed: int = 0) -> torch.Tensor:
    """Clustered points inside the range, so that voxels have neighbours."""
    g = torch.Generator().manual_seed(seed)
    centre = (torch.rand(max(n // 40, 1), 3, generator=g) * 2 - 1) * torch.tensor([9.0, 9.0, 1.0])
    xyz = centre[torch.randint(len(centre), (n,), generator=g)] + torch.tensor([0.0, 0.0, -1.0])
    xyz = (xyz + 0.2 * torch.randn(n, 3, generator=g)).clamp(-49.0, 49.0)
    xyz[:, 2].clamp_(-3.9, 1.9)
    return torch.cat([xyz, torch.rand(n, 1, generator=g)], dim=1)
