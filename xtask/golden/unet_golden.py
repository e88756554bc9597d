"""Golden values of the U-Net of denoising-diffusion-pytorch, for crates/difusi-nn/tests.

    pip install denoising-diffusion-pytorch==2.3.4 safetensors      # made with torch 2.15 on a CPU
    OMP_NUM_THREADS=1 python xtask/golden/unet_golden.py            # from the repository's root

Writes to crates/difusi-nn/tests/golden:
  unet_made_124.safetensors, unet_made_1248.safetensors
      weights the package made: its own initial values, trained for 30 steps so that none is at a special value, rounded to
      half precision (stored so) to keep the files small; with x, t and the package's output y
  unet_formula.safetensors
      for each case inputs and output only: the weights come from a formula that the test also knows (see `formula`)
  unet_classes.safetensors
      the same for the U-Net of the package's classifier_free_guidance module, whose labels stand under `classes` (-1: the null one)
  unet_names.json
      names and shapes of the tensors of several networks, and of a file that the package's Trainer writes

Images are [B, C, H, W]. The cases' arguments stand in the files' metadata under "cases" (or "unet"), as JSON.
"""

import json
import math
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from denoising_diffusion_pytorch import GaussianDiffusion, Trainer, Unet
from denoising_diffusion_pytorch.classifier_free_guidance import Unet as ClassUnet
from PIL import Image
from safetensors.torch import save_file

OUT = Path("crates/difusi-nn/tests/golden")

FORMULA_CASES = {
    "grey_124": (dict(dim=8, dim_mults=[1, 2, 4], channels=1), (28, 28)),
    "rgb_1248": (dict(dim=8, dim_mults=[1, 2, 4, 8], channels=3), (16, 24)),
    "grey_1248": (dict(dim=8, dim_mults=[1, 2, 4, 8], channels=1), (16, 16)),
    "rgb_124": (dict(dim=8, dim_mults=[1, 2, 4], channels=3), (12, 20)),
    "dim32_124": (dict(dim=32, dim_mults=[1, 2, 4], channels=1), (32, 32)),
    "self_condition": (dict(dim=8, dim_mults=[1, 2], channels=3, self_condition=True), (8, 8)),
    "self_condition_zeros": (dict(dim=8, dim_mults=[1, 2], channels=1, self_condition=True), (8, 8)),
    "learned_variance": (dict(dim=8, dim_mults=[1, 2], channels=3, learned_variance=True), (8, 12)),
    "learned_time": (dict(dim=8, dim_mults=[1, 2], channels=1, learned_sinusoidal_cond=True), (8, 8)),
    "fourier_time": (
        dict(dim=6, dim_mults=[1, 2], channels=1, random_fourier_features=True, learned_sinusoidal_dim=10),
        (8, 8),
    ),
    "theta": (dict(dim=8, dim_mults=[1, 2], channels=1, sinusoidal_pos_emb_theta=500), (8, 8)),
    "per_stage": (
        dict(dim=8, dim_mults=[1, 2, 3], channels=1, full_attn=[True, False, False], attn_heads=[1, 2, 3],
             attn_dim_head=[4, 8, 16]),
        (8, 12),
    ),
    "all_full": (dict(dim=8, dim_mults=[1, 2], channels=1, full_attn=True, flash_attn=True), (8, 8)),
    "none_full": (dict(dim=8, dim_mults=[1, 2], channels=1, full_attn=[False, False]), (8, 8)),
    "out_dim": (dict(dim=8, dim_mults=[1, 2], channels=3, out_dim=5), (8, 8)),
    "init_dim": (dict(dim=8, dim_mults=[1, 2], channels=1, init_dim=12), (8, 8)),
    "one_stage": (dict(dim=8, dim_mults=[2], channels=1), (5, 7)),
    "dropout_off": (dict(dim=8, dim_mults=[1, 2], channels=1, dropout=0.3), (8, 8)),
}


def unet(args):
    """The package wants tuples where JSON has lists."""
    return Unet(**{k: tuple(v) if isinstance(v, list) else v for k, v in args.items()}).eval()


def uniforms(name, count):
    """SplitMix64 started at the FNV-1a hash of the name, as numbers in [-1, 1)."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(h) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) / 2.0**52 - 1.0


def formula(name, shape):
    """Values of about the size that training leaves; all are rounded once, from f64 to f32."""
    u = uniforms(name, math.prod(shape))
    if name.endswith(".g"):
        v = 1.0 + 0.4 * u
    elif name.endswith(".bias"):
        v = 0.2 * u
    elif name.endswith("mem_kv") or name == "time_mlp.0.weights":
        v = 1.5 * u
    else:
        v = 1.5 * u / math.sqrt(math.prod(shape[1:]))
    return torch.from_numpy(v.astype(np.float32)).reshape(shape)


def inputs(args, size, generator):
    x = torch.randn(2, args["channels"], *size, generator=generator)
    return x, torch.tensor([3.0, 999.0])


def formula_cases():
    tensors, meta = {}, {}
    generator = torch.Generator().manual_seed(2)
    for case, (args, size) in FORMULA_CASES.items():
        net = unet(args)
        net.load_state_dict({k: formula(k, tuple(v.shape)) for k, v in net.state_dict().items()})
        x, t = inputs(args, size, generator)
        extra = ()
        if case == "self_condition":
            extra = (torch.randn(x.shape, generator=generator).clamp(-1, 1),)
            tensors[f"{case}/x_self_cond"] = extra[0]
        # float64 as well: how far apart two correct f32 programs may be
        with torch.no_grad():
            y = net(x, t, *extra)
            y64 = net.double()(x.double(), t.double(), *(e.double() for e in extra))
        print(f"{case:22} max |y| {y.abs().max():.3f}  f32 to f64 {(y - y64).abs().max():.1e}")
        tensors |= {f"{case}/x": x, f"{case}/t": t, f"{case}/y": y}
        meta[case] = args
    save_file(tensors, OUT / "unet_formula.safetensors", {"cases": json.dumps(meta)})


CLASS_CASES = {
    "grey": (dict(dim=8, num_classes=10, dim_mults=[1, 2], channels=1), (8, 8)),
    "rgb_variance": (dict(dim=8, num_classes=3, dim_mults=[1, 2, 4], channels=3, learned_variance=True), (8, 12)),
    "learned_time": (dict(dim=6, num_classes=5, dim_mults=[1, 2], channels=1, learned_sinusoidal_cond=True), (8, 8)),
}


def class_cases():
    """The wrappers around attention, `fn.`, are left out of the names that the formula sees."""
    tensors, meta = {}, {}
    generator = torch.Generator().manual_seed(3)
    for case, (args, size) in CLASS_CASES.items():
        net = ClassUnet(**{k: tuple(v) if isinstance(v, list) else v for k, v in args.items()}).eval()
        own = lambda name: name.replace(".fn.fn.", ".").replace(".fn.norm.", ".norm.")
        state = net.state_dict()
        net.load_state_dict({k: formula(own(k), tuple(v.shape)) for k, v in state.items()})
        x = torch.randn(4, args["channels"], *size, generator=generator)
        t, classes = torch.tensor([3.0, 999.0, 500.0, 20.0]), torch.tensor([0, args["num_classes"] - 1, 1, 2])
        keep = torch.tensor([True, True, False, True])
        with torch.no_grad():
            y = net(x, t, classes, cond_keep_mask=keep)
        print(f"{case:22} max |y| {y.abs().max():.3f}")
        shown = torch.where(keep, classes, -1).float()
        tensors |= {f"{case}/x": x, f"{case}/t": t, f"{case}/classes": shown, f"{case}/y": y}
        meta[case] = {"args": args, "tensors": shapes(state)}
    save_file(tensors, OUT / "unet_classes.safetensors", {"cases": json.dumps(meta)})


def made_by_package(file, args, size):
    torch.manual_seed(0)
    net = unet(args)
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(30):
        x = torch.randn(8, args["channels"], *size)
        loss = (net(x, torch.randint(0, 1000, (8,))) - x.tanh()).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    weights = {k: v.half() for k, v in net.state_dict().items()}
    net.load_state_dict({k: v.float() for k, v in weights.items()})
    x, t = inputs(args, size, torch.Generator().manual_seed(1))
    with torch.no_grad():
        y = net(x, t)
    tensors = {f"weights/{k}": v for k, v in weights.items()} | {"x": x, "t": t, "y": y}
    save_file(tensors, OUT / file, {"unet": json.dumps(args)})


def shapes(state):
    return {k: list(v.shape) for k, v in state.items()}


def flat(value, prefix=""):
    """Nested dictionaries and lists to dotted names; tensors only."""
    if torch.is_tensor(value):
        return {prefix: list(value.shape)}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    return {k: v for key, item in items for k, v in flat(item, f"{prefix}.{key}" if prefix else str(key)).items()}


def trainer_file(args):
    with tempfile.TemporaryDirectory() as folder:
        for i in range(120):
            Image.new("L", (8, 8), i).save(f"{folder}/{i}.png")
        diffusion = GaussianDiffusion(unet(args), image_size=8, timesteps=10)
        options = dict(train_batch_size=16, train_num_steps=1, num_samples=1, calculate_fid=False)
        trainer = Trainer(diffusion, folder, results_folder=folder, save_and_sample_every=1, **options)
        trainer.train()
        return flat(torch.load(f"{folder}/model-1.pt", weights_only=True))


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    formula_cases()
    class_cases()
    made_by_package("unet_made_124.safetensors", dict(dim=4, dim_mults=[1, 2, 4], channels=1), (12, 8))
    made_by_package(
        "unet_made_1248.safetensors",
        dict(dim=4, dim_mults=[1, 2, 4, 8], channels=3, attn_heads=2, attn_dim_head=8),
        (16, 8),
    )
    networks = {case: {"unet": args, "tensors": shapes(unet(args).state_dict())} for case, (args, _) in FORMULA_CASES.items()}
    counts = [
        {"unet": args, "parameters": sum(p.numel() for p in unet(args).parameters())}
        for args in [dict(dim=32, dim_mults=[1, 2, 4], channels=1), dict(dim=64, dim_mults=[1, 2, 4, 8], channels=3)]
    ]
    args = dict(dim=8, dim_mults=[1, 2], channels=1)
    names = {"networks": networks, "counts": counts, "trainer": {"unet": args, "tensors": trainer_file(args)}}
    (OUT / "unet_names.json").write_text(json.dumps(names, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    sys.exit(main())
