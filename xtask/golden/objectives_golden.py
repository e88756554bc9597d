"""Golden numbers of training objectives: schedules and rescaling of diffusers, losses of denoising-diffusion-pytorch.

    pip install torch diffusers==0.42.1 denoising-diffusion-pytorch==2.3.4 safetensors
    python xtask/golden/objectives_golden.py

writes crates/difusi-process/tests/golden/objectives.safetensors. The network is a formula that the Rust test repeats, so nothing
here depends on weights; noise is stored. The script is ours, the numbers are the packages'.
"""

import pathlib

import torch
from denoising_diffusion_pytorch.elucidated_diffusion import ElucidatedDiffusion
from denoising_diffusion_pytorch.learned_gaussian_diffusion import LearnedGaussianDiffusion
from diffusers.schedulers.scheduling_ddpm import betas_for_alpha_bar, rescale_zero_terminal_snr
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).parents[2] / "crates/difusi-process/tests/golden/objectives.safetensors"
SHAPE = (6, 3, 4, 4)


class Formula(torch.nn.Module):
    """`tanh(x / 2 + time / 10)`, and twice as many channels where a variance is asked for: those of `cos(x + time)`."""

    def __init__(self, variance, scale):
        super().__init__()
        self.variance, self.scale = variance, scale
        self.channels, self.out_dim = 3, 6 if variance else 3
        self.self_condition, self.random_or_learned_sinusoidal_cond = False, not variance

    def forward(self, x, t, x_self_cond=None):
        time = (t.float() * self.scale).view(-1, 1, 1, 1)
        out = torch.tanh(x / 2 + time / 10)
        return torch.cat((out, torch.cos(x + time)), dim=1) if self.variance else out


def learned(out):
    x = torch.rand(SHAPE) * 2 - 1
    x = ((x + 1) * 127.5).round() / 127.5 - 1  # bytes
    noise, t = torch.randn(SHAPE), torch.tensor([1, 5, 20, 40, 70, 99])
    out["learned.x"], out["learned.noise"], out["learned.t"] = x, noise, t.int()
    for schedule in ("linear", "cosine"):
        model = Formula(True, 0.01)
        # Their term counts once, L_vlb has it T times: lambda = 1 there is 1 / T here.
        peer = LearnedGaussianDiffusion(
            model, 1.0, image_size=4, timesteps=100, objective="pred_noise", beta_schedule=schedule
        )
        out[f"learned.{schedule}"] = peer.p_losses(x, t, noise=noise, loss_reduction="none")


def elucidated(out):
    images, sigma = torch.rand(SHAPE), torch.tensor([0.002, 0.05, 0.3, 1.0, 7.0, 80.0])
    peer = ElucidatedDiffusion(Formula(False, 1.0), image_size=4, sigma_data=0.6)
    torch.manual_seed(3)
    losses = peer(images, sigma=sigma, loss_reduction="none")
    torch.manual_seed(3)
    noise = torch.randn(SHAPE)
    x = images * 2 - 1
    out["edm.x"], out["edm.noise"], out["edm.sigma"], out["edm.loss"] = x, noise, sigma, losses
    noised = x + sigma.view(-1, 1, 1, 1) * noise
    out["edm.denoised"] = peer.preconditioned_network_forward(noised, sigma)


def schedules(out):
    for name, kind in (("laplace", "laplace"), ("exponential", "exp")):
        out[f"betas.{name}"] = betas_for_alpha_bar(1000, alpha_transform_type=kind)
    betas = {
        "linear": torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64),
        "scaled_linear": torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2,
        "cosine": betas_for_alpha_bar(1000).double(),
    }
    for name, values in betas.items():
        bent = rescale_zero_terminal_snr(values)
        out[f"zero_terminal.{name}"] = torch.cumprod(1 - bent, 0).float()


def main():
    torch.manual_seed(0)
    out = {}
    with torch.no_grad():
        learned(out)
        elucidated(out)
    schedules(out)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.float().contiguous() for name, tensor in out.items()}, OUT)
    print(f"{OUT}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
