"""A checkpoint as denoising-diffusion-pytorch's Trainer writes it, and what the package draws with it.

    python3 -m venv peer && peer/bin/pip install torch denoising-diffusion-pytorch safetensors
    OMP_NUM_THREADS=1 peer/bin/python xtask/golden/peer_trainer.py crates/difusi/tests/golden

Writes peer_trainer.pt (keys step, model, opt, ema, scaler, version; a few steps trained on noise, so that model and EMA differ),
peer_trainer.json (the arguments of Unet and GaussianDiffusion) and peer_trainer.safetensors: `noise` [N, C, H, W], the pictures that
the EMA draws from it (`samples`, in [0, 1]), and what `sample(N)` draws after torch.manual_seed(5) (`seeded`).
"""
import json
import sys

import torch
from denoising_diffusion_pytorch import GaussianDiffusion, Unet
from ema_pytorch import EMA
from safetensors.torch import save_file
from torch.optim import Adam

out = sys.argv[1]
torch.manual_seed(0)
unet = dict(dim=4, dim_mults=[1, 2], channels=1, attn_heads=1, attn_dim_head=4)
diffusion = dict(image_size=[8, 12], timesteps=50, sampling_timesteps=10, objective="pred_v", beta_schedule="sigmoid")
model = GaussianDiffusion(Unet(**unet), **diffusion)
optimizer = Adam(model.parameters(), lr=3e-3, betas=(0.9, 0.99))
ema = EMA(model, beta=0.9, update_every=1, update_after_step=0)
for _ in range(4):
    model(torch.rand(4, 1, 8, 12)).backward()
    optimizer.step()
    optimizer.zero_grad()
    ema.update()
checkpoint = dict(
    step=4, model=model.state_dict(), opt=optimizer.state_dict(), ema=ema.state_dict(), scaler=None, version="2.3.4"
)
torch.save(checkpoint, f"{out}/peer_trainer.pt")
with open(f"{out}/peer_trainer.json", "w") as f:
    json.dump(dict(unet=unet, diffusion=diffusion), f, indent=1)

sampler = ema.ema_model.eval()
torch.manual_seed(5)
seeded = sampler.sample(batch_size=3)
torch.manual_seed(5)
noise = torch.randn(3, 1, 8, 12)
real = torch.randn
torch.randn = lambda *a, **k: noise.clone()
samples = sampler.sample(batch_size=3)
torch.randn = real
save_file(dict(noise=noise, samples=samples, seeded=seeded), f"{out}/peer_trainer.safetensors")
