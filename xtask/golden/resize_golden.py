"""Golden values of resizing, for crates/difusi-metrics/tests.

    pip install torch torch-fidelity clean-fid pillow safetensors   # made with torch 2.15, torch-fidelity 0.4.0, clean-fid 0.1.35, Pillow 13.0.0
    OMP_NUM_THREADS=1 PYTHONPATH=xtask/golden python xtask/golden/resize_golden.py      # from the repository's root

Writes crates/difusi-metrics/tests/golden/resize.safetensors: for each case a picture of bytes `x` [H, W, C] and what it becomes at another
size, [H', W', C] in 0..255:
  pytorch      torch.nn.functional.interpolate(mode="bilinear", align_corners=False), as pytorch-fid resizes
  tensorflow   torch-fidelity's interpolate_bilinear_2d_like_tensorflow1x(align_corners=False)
  clean        clean-fid's make_resizer("PIL", False, "bicubic", size)
"""

from pathlib import Path

import numpy as np
import torch
from cleanfid.resize import make_resizer
from safetensors.torch import save_file
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

OUT = Path("crates/difusi-metrics/tests/golden")

# Height, width; height', width'.
CASES = {
    "up": ((7, 5), (12, 11)),
    "down": ((37, 30), (9, 13)),
    "mixed": ((6, 40), (17, 12)),
    "same": ((8, 8), (8, 8)),
    "one": ((1, 1), (3, 4)),
    "long": ((2, 1500), (3, 299)),
    "inception": ((32, 3), (299, 2)),
}


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    generator, tensors = torch.Generator().manual_seed(5), {}
    for case, (size, to) in CASES.items():
        x = torch.randint(0, 256, (*size, 3), generator=generator, dtype=torch.uint8)
        image = x.permute(2, 0, 1)[None].float()
        torch_ = torch.nn.functional.interpolate(image, size=to, mode="bilinear", align_corners=False)
        tensorflow = interpolate_bilinear_2d_like_tensorflow1x(image, size=to, align_corners=False)
        clean = make_resizer("PIL", False, "bicubic", to[::-1])(x.numpy().astype(np.float32))
        assert clean.shape == (*to, 3)
        tensors |= {
            f"{case}/x": x,
            f"{case}/pytorch": torch_[0].permute(1, 2, 0).contiguous(),
            f"{case}/tensorflow": tensorflow[0].permute(1, 2, 0).contiguous(),
            f"{case}/clean": torch.from_numpy(clean.astype(np.float32)),
        }
    save_file(tensors, OUT / "resize.safetensors")


if __name__ == "__main__":
    main()
