"""Weights after each step of torch.optim.Adam and AdamW on given gradients, with clip_grad_norm_ and learning-rate lambdas.

Needs: torch. Run: python xtask/golden/train_adam.py
Writes: crates/difusi-train/tests/golden/adam.json (numbers are float32, printed exactly)
"""

import json
import math
import pathlib

import torch

torch.manual_seed(0)
START = [torch.randn(3), torch.randn(2, 2)]
STEPS = 8
# Small, middle and large gradients: clipping acts on some steps only.
GRADS = [[torch.randn(p.shape) * 10.0 ** (k % 4 - 2) for p in START] for k in range(STEPS)]


def run(name, make, config, clip=0.0, factor=lambda k: 1.0):
    params = [torch.nn.Parameter(p.clone()) for p in START]
    optimizer = make(params)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    weights, norms = [], []
    for grads in GRADS:
        for p, g in zip(params, grads):
            p.grad = g.clone()
        limit = clip if clip > 0 else math.inf
        norms.append(float(torch.nn.utils.clip_grad_norm_(params, limit)))
        optimizer.step()
        schedule.step()
        weights.append(torch.cat([p.detach().flatten() for p in params]).tolist())
    return {"name": name, "train": config | {"clip": clip}, "norms": norms, "weights": weights}


def cosine(k):
    return 0.1 + 0.9 * (1 + math.cos(math.pi * k / (STEPS - 1))) / 2


cases = [
    run(
        "adam",
        lambda p: torch.optim.Adam(p, lr=1e-2, betas=(0.9, 0.99), eps=1e-8, foreach=False),
        {"learning_rate": 1e-2, "optimizer": {"kind": "adam"}},
    ),
    run(
        "adam, large eps, clipped",
        lambda p: torch.optim.Adam(p, lr=3e-2, betas=(0.8, 0.999), eps=1e-2, foreach=False),
        {"learning_rate": 3e-2, "optimizer": {"kind": "adam", "beta1": 0.8, "beta2": 0.999, "eps": 1e-2}},
        clip=1.0,
    ),
    run(
        "adamw, cosine",
        lambda p: torch.optim.AdamW(p, lr=1e-2, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1, foreach=False),
        {
            "learning_rate": 1e-2,
            "optimizer": {"kind": "adamw", "weight_decay": 0.1},
            "learning_rate_schedule": {"kind": "cosine", "final_fraction": 0.1},
        },
        clip=0.5,
        factor=cosine,
    ),
]
flat = lambda tensors: torch.cat([t.flatten() for t in tensors]).tolist()
golden = {"torch": torch.__version__, "start": flat(START), "gradients": [flat(g) for g in GRADS], "cases": cases}
path = pathlib.Path(__file__).parents[2] / "crates/difusi-train/tests/golden/adam.json"
path.write_text(json.dumps(golden, indent=1) + "\n")
