"""Switches that torchsparse has; here they switch nothing."""

benchmark = False
allow_tf32 = True
allow_fp16 = True
hash_rsv_ratio = 2
