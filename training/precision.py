"""The number format of matrix products in training.

bfloat16 is several times faster than float32 on CPUs with tile multiplication (AMX), and half as
fast on others.
"""

import torch

COMPUTE = torch.bfloat16 if torch.cpu._is_amx_tile_supported() else torch.float32
