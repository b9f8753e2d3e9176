"""ELiTe: a small LiDAR segmentation network and the tools around it."""
