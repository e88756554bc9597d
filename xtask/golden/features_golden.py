"""Golden values of the FID Inception-v3 of pytorch-fid, for crates/difusi-nn/tests.

    pip install pytorch-fid==0.3.0 torchvision safetensors           # made with torch 2.15 and torchvision 0.29.2 on a CPU
    OMP_NUM_THREADS=1 python xtask/golden/features_golden.py          # from the repository's root

Writes crates/difusi-nn/tests/golden/inception.safetensors: what the package's own network answers to two images of 299x299. Weights
and images come from a formula that the test also knows (see `formula`), so no file of 90 MB is fetched or committed:
  tap64, tap192, tap768, tap2048   `InceptionV3(output_blocks=(0, 1, 2, 3))`, averaged over the pixels as pytorch-fid does
  logits, logits_unbiased          the 1,008-way head on the last of them, with and without its bias
  spatial                          the first 7 channels of `Mixed_6d.branch1x1`, as (row, column, channel), for guided-diffusion's sFID
and inception_names.json: names and shapes of the state dict, without the counters of its batch norms.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from pytorch_fid import inception
from safetensors.torch import save_file
from unet_golden import uniforms

OUT = Path("crates/difusi-nn/tests/golden")


def formula(name, shape):
    """Values that keep a signal at its size through the network; all are rounded once, from f64 to f32."""
    u = uniforms(name, math.prod(shape))
    if name.endswith("running_var"):
        v = 1.0 + 0.5 * u
    elif name.endswith("bn.weight"):
        v = 1.0 + 0.4 * u
    elif name.endswith(("bn.bias", "running_mean", "fc.bias")):
        v = 0.2 * u
    else:
        v = 2.4 * u / math.sqrt(math.prod(shape[1:]))
    return torch.from_numpy(v.astype(np.float32)).reshape(shape)


def images():
    """Noise, and squares of 16 pixels in one colour; in [-1, 1)."""
    noise = uniforms("noise", 3 * 299 * 299).reshape(3, 299, 299)
    squares = uniforms("squares", 3 * 19 * 19).reshape(3, 19, 19).repeat(16, 1).repeat(16, 2)[:, :299, :299]
    return torch.from_numpy(np.stack([noise, squares]).astype(np.float32))


def main():
    made = {}

    def weights(url, progress=True):
        net = inception._inception_v3(num_classes=1008, aux_logits=False, weights=None)
        made.update({k: formula(k, tuple(v.shape)) for k, v in net.state_dict().items() if not k.endswith("tracked")})
        return made

    # The file's state dict has no counters; the package loads it strictly, so torchvision's defaults stand in for them.
    inception.load_state_dict_from_url = weights
    load = torch.nn.Module.load_state_dict
    torch.nn.Module.load_state_dict = lambda self, state, strict=True: load(self, state, strict=False)
    net = inception.fid_inception_v3().eval()
    inception.fid_inception_v3 = lambda: net
    taps = inception.InceptionV3((0, 1, 2, 3), resize_input=False, normalize_input=False).eval()
    seen = {}
    net.Mixed_6d.branch1x1.register_forward_hook(lambda m, i, y: seen.update(spatial=y[:, :7].permute(0, 2, 3, 1)))
    x = images()
    with torch.no_grad():
        out = [y.mean((2, 3)) if y.shape[2] > 1 else y[:, :, 0, 0] for y in taps(x)]
        tensors = {f"tap{y.shape[1]}": y for y in out}
        tensors["logits_unbiased"] = out[3] @ net.fc.weight.T
        tensors["logits"] = net.fc(out[3])
        tensors["spatial"] = seen["spatial"].flatten(1)
        exact = taps.double()(x.double())[3][:, :, 0, 0]
    for name, y in tensors.items():
        print(f"{name:16} {list(y.shape)} mean {y.mean():.4f} std {y.std():.4f} max {y.abs().max():.3f}")
    print(f"f32 to f64: {(exact - tensors['tap2048']).abs().max() / exact.abs().max():.1e} of the largest")
    save_file({k: v.float().contiguous() for k, v in tensors.items()}, OUT / "inception.safetensors")
    names = {k: list(v.shape) for k, v in made.items()}
    (OUT / "inception_names.json").write_text(json.dumps(names, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
