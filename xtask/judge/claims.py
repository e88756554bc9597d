"""Claims that texts make, measured at small scale: the table of docs/mathematics.md.

    judge/bin/python xtask/judge/claims.py --difusi target/release/difusi --data ../shared/data --out claims

One small U-Net on MNIST at 16x16 pixels; every row is trained three times (seeds 0, 1, 2), all rows for the same steps. Reported are
mean and spread over the seeds of bits/dim (`difusi eval`, the whole bound by stratified times) and of fid32: the Frechet distance of
500 samples' features (the MNIST CNN of shared/data, after a bilinear resize to 28x28 on both sides) to those of the test images.
Samples are ancestral on 100 of the steps unless the row says otherwise. Finished runs are kept and not repeated.
"""
import argparse
import json
import pathlib
import subprocess

import numpy as np
import torch
import torch.nn.functional as F

from mnist_features import Judge, frechet

parser = argparse.ArgumentParser()
parser.add_argument("--difusi", default="target/release/difusi")
parser.add_argument("--data", default="../shared/data")
parser.add_argument("--out", default="claims")
parser.add_argument("--steps", type=int, default=1000)
parser.add_argument("--seeds", type=int, default=3)
parser.add_argument("--threads", type=int, help="CPU threads of difusi (default: all); results do not depend on it")
parser.add_argument("--only", help="rows whose name contains this")
args = parser.parse_args()
out = pathlib.Path(args.out)

CONFIG = """
[data]
kind = "idx"
path = "mnist"
size = [16, 16]
[model]
kind = "unet"
dim = 16
dim_mults = [1, 2]
attn_heads = 2
attn_dim_head = 8
[diffusion]
timesteps = 1000
schedule = "linear"
prediction = "epsilon"
[train]
steps = 1000
batch_size = 32
learning_rate = 2e-3
learning_rate_schedule = { kind = "cosine", final_fraction = 0.02 }
warmup_steps = 50
ema = [0.99]
seed = 0
save_every = 1000000
sample_every = 1000000
[sample]
solver = "ancestral"
steps = 100
count = 64
"""

LEARNED = 'diffusion.variance="learned_range"'
ROWS = {
    "epsilon, L_simple, linear, T = 1000": [],
    "x0": ['diffusion.prediction="x0"'],
    "velocity": ['diffusion.prediction="velocity"'],
    "posterior mean": ['diffusion.prediction="posterior_mean"'],
    "L_hybrid, learned variance": [LEARNED, 'diffusion.loss="hybrid"'],
    "L_vlb, learned variance": [LEARNED, 'diffusion.loss="vlb"'],
    # Two losses of each step are remembered, not ten: all T of them must have theirs before the times are drawn by them.
    "L_vlb, resampled times": [LEARNED, 'diffusion.loss="vlb"', 'diffusion.times={kind="loss_second_moment", history=2}'],
    "cosine": ['diffusion.schedule="cosine"'],
    "geometric": ['diffusion.schedule="geometric"'],
    "T = 300": ["diffusion.timesteps=300", 'diffusion.schedule={kind="linear", rescale=true}'],
    "T = 100": ["diffusion.timesteps=100", 'diffusion.schedule={kind="linear", rescale=true}'],
}
SDE_2M = ("--set", 'solver.algorithm="sde-dpmsolver++"')
SOLVERS = {
    "ancestral": ("ancestral",),
    "DDIM": ("ddim",),
    "Euler ancestral": ("euler_ancestral",),
    "Heun": ("heun",),
    "DPM-Solver++ 2M": ("dpm_multistep",),
    "DPM-Solver++ 2M SDE": ("dpm_multistep", *SDE_2M),
    "UniPC": ("unipc",),
    "DEIS": ("deis",),
    "PNDM": ("pndm",),
    "LMS": ("lms",),
}
STEPS = (5, 10, 25)


def difusi(*command):
    threads = ["--threads", args.threads] if args.threads else []
    done = subprocess.run([args.difusi, *map(str, [*command, *threads])], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
    return done.stdout


def small(images):
    """What training sees: the test images at 16x16 and back."""
    x = torch.from_numpy(images.astype(np.float32))[:, None]
    x = F.interpolate(x, size=(16, 16), mode="bicubic", antialias=True, align_corners=False).clamp(0, 255).round()
    return x[:, 0].numpy().astype(np.uint8)


judge = Judge(args.data)
real, _ = judge.features(small(judge.read_idx("t10k")))


def fid(run, name, *options):
    file = run / f"{name}.npz"
    if not file.exists():
        difusi("sample", run, "-n", 500, "--seed", 7, "-o", file, *options)
    return frechet(judge.features(np.load(file)["arr_0"][..., 0])[0], real)


def trained(name, overrides, seed):
    run = out / f"{name.replace(' ', '_').replace(',', '').replace('=', '')}-{seed}"
    if not (run / "model.safetensors").exists() or not (run / "done").exists():
        config = out / "claims.toml"
        config.write_text(CONFIG)
        sets = [x for o in [*overrides, f"train.steps={args.steps}", f"train.seed={seed}"] for x in ("--set", o)]
        difusi("train", config, "--data", f"{args.data}/mnist", "--out", run, "--overwrite", *sets)
        (run / "done").touch()
    return run


def bits(run):
    file = run / "bpd.json"
    if not file.exists():
        command = ("--metrics", "bpd", "--reference", f"{args.data}/mnist", "--resize", "-n", 500, "--times-per-image", 16, "-o", run / "eval", "--json")
        file.write_text(difusi("eval", run, *command))
    return json.loads(file.read_text())["bits_per_dim"]["mean"]


def spread(values):
    return f"{np.mean(values):.3g} ± {np.std(values, ddof=1) if len(values) > 1 else 0:.2g}"


out.mkdir(parents=True, exist_ok=True)
print("| row | bits/dim | fid32 |\n|---|---|---|", flush=True)
for name, overrides in ROWS.items():
    if args.only and args.only not in name:
        continue
    runs = [trained(name, overrides, seed) for seed in range(args.seeds)]
    print(f"| {name} | {spread([bits(r) for r in runs])} | {spread([fid(r, 'ancestral-100') for r in runs])} |", flush=True)
print("\n| solver | " + " | ".join(f"{n} steps" for n in STEPS) + " |\n|---|" + "--:|" * len(STEPS), flush=True)
base = next(iter(ROWS.items()))
runs = [trained(*base, seed) for seed in range(args.seeds)]
for name, (solver, *options) in SOLVERS.items():
    if args.only and args.only not in name:
        continue
    values = []
    for steps in STEPS:
        file = f"{name.lower().replace(' ', '-')}-{steps}"
        values.append(spread([fid(r, file, "--solver", solver, *options, "--steps", steps) for r in runs]))
    print(f"| {name} | " + " | ".join(values) + " |", flush=True)
