"""Numbers of the peers for crates/difusi-process/tests/golden.

Rerun (any directory; a throw-away environment is fine):

    python -m venv venv
    venv/bin/pip install torch==2.15 denoising-diffusion-pytorch==2.3.4 diffusers==0.42.1 safetensors
    OMP_NUM_THREADS=1 venv/bin/python xtask/golden/process_golden.py crates/difusi-process/tests/golden

Writes torch_rng, peer and diffusers .safetensors. Images are [B, C, H, W] as the peers have them. The script is ours, the numbers
are theirs. The network is `Fake`, four lines that the Rust tests repeat.
"""

import sys
from pathlib import Path

import torch
from denoising_diffusion_pytorch import GaussianDiffusion
from denoising_diffusion_pytorch import denoising_diffusion_pytorch as peer
from diffusers import DDIMScheduler, DDPMScheduler
from safetensors.torch import save_file

SHAPE = (2, 3, 4, 5)
T = 50
SHOWN = [0, 1, 10, 25, 49, 50]


class Fake(torch.nn.Module):
    """Deterministic and cheap; every input matters."""

    channels = out_dim = 3

    def __init__(self, self_condition=False):
        super().__init__()
        self.self_condition = self_condition

    def forward(self, x, t, x_self_cond=None):
        by_channel = torch.tensor([1.0, 0.5, -0.7])[None, :, None, None]
        y = torch.tanh(0.8 * x + 0.1) * by_channel * (1 - 0.0005 * t.float()[:, None, None, None])
        return y if x_self_cond is None else y + 0.25 * x_self_cond


def torch_rng():
    out = {}
    for n in (1, 5, 16, 17, 100, 1000):
        out[f"size.{n}"] = torch.randn(n, generator=torch.Generator("cpu").manual_seed(n))
    g = torch.Generator("cpu").manual_seed(42)
    out["consecutive"] = torch.cat([torch.randn(n, generator=g) for n in (5, 17, 3, 100, 1, 16, 700)])
    out["wide_seed"] = torch.randn(20, generator=torch.Generator("cpu").manual_seed(2**40 + 3))
    out["image"] = torch.randn(SHAPE, generator=torch.Generator("cpu").manual_seed(3))
    return out


def diffusion(objective, schedule, self_condition=False, **more):
    return GaussianDiffusion(
        Fake(self_condition),
        image_size=SHAPE[2:],
        timesteps=more.pop("timesteps", T),
        objective=objective,
        beta_schedule=schedule,
        auto_normalize=False,
        **more,
    )


CASES = [("pred_noise", "linear", False), ("pred_x0", "cosine", False), ("pred_v", "sigmoid", True)]


def peer_tables(out):
    for schedule in ("linear", "cosine", "sigmoid"):
        d = diffusion("pred_v", schedule)
        for name in ("betas", "alphas_cumprod", "posterior_variance", "posterior_log_variance_clipped",
                     "posterior_mean_coef1", "posterior_mean_coef2"):
            out[f"tables.{schedule}.{name}"] = getattr(d, name).clone()
        d = diffusion("pred_v", schedule, timesteps=1000)
        out[f"tables1000.{schedule}.alphas_cumprod"] = d.alphas_cumprod.clone()


def peer_sampling(out):
    for objective, schedule, self_condition in CASES:
        torch.manual_seed(7)
        x = diffusion(objective, schedule, self_condition).sample(batch_size=2, return_all_timesteps=True)
        out[f"ancestral.{objective}"] = x[:, SHOWN].contiguous()
        for eta in (0.0, 0.7):
            torch.manual_seed(8)
            d = diffusion(objective, schedule, self_condition, sampling_timesteps=7, ddim_sampling_eta=eta)
            out[f"ddim.{objective}.{eta}"] = d.sample(batch_size=2, return_all_timesteps=True)
    g = torch.Generator("cpu").manual_seed(1)
    x1, x2 = (torch.rand(SHAPE, generator=g) * 2 - 1 for _ in range(2))
    torch.manual_seed(9)
    d = diffusion("pred_v", "sigmoid", True)
    out.update({"interpolate.x1": x1, "interpolate.x2": x2, "interpolate.out": d.interpolate(x1, x2, t=20, lam=0.3)})


def peer_losses(out):
    g = torch.Generator("cpu").manual_seed(2)
    shape = (6,) + SHAPE[1:]
    x, noise = torch.rand(shape, generator=g) * 2 - 1, torch.randn(shape, generator=g)
    t = torch.tensor([0, 1, 10, 25, 48, 49])
    out.update({"loss.x": x, "loss.noise": noise, "loss.t": t.int()})
    for objective, schedule, self_condition in CASES:
        for min_snr in (False, True):
            d = diffusion(objective, schedule, self_condition, min_snr_loss_weight=min_snr, min_snr_gamma=4)
            for first_guess, draw in (("plain", 0.9), ("guess", 0.1)):
                peer.random = lambda: draw  # below 0.5: the network is conditioned on its own first guess
                if first_guess == "guess" and not self_condition:
                    continue
                name = f"loss.{objective}.{'min_snr' if min_snr else 'snr'}.{first_guess}"
                out[name] = d.p_losses(x, t, noise=noise.clone(), loss_reduction="none")


def even_grid(out):
    for timesteps, steps in ((1000, 1), (1000, 7), (1000, 48), (1000, 250), (1000, 999), (50, 7), (32, 26), (32, 14)):
        times = torch.linspace(-1, timesteps - 1, steps=steps + 1).int()
        out[f"even.{timesteps}.{steps}"] = times.flip(0)[:-1].contiguous()


def diffusers_values():
    out = {}
    for name, more in (
        ("linear", {}),
        ("scaled_linear", {"beta_start": 0.00085, "beta_end": 0.012}),
        ("squaredcos_cap_v2", {}),
        ("sigmoid", {}),
    ):
        out[f"betas.{name}"] = DDPMScheduler(num_train_timesteps=1000, beta_schedule=name, **more).betas
    for spacing in ("leading", "linspace", "trailing"):
        for steps in (2, 3, 7, 16, 48, 50, 333, 999, 1000):
            s = DDIMScheduler(num_train_timesteps=1000, timestep_spacing=spacing)
            s.set_timesteps(steps)
            out[f"grid.{spacing}.{steps}"] = s.timesteps.int()
    net = Fake()
    for kind in ("epsilon", "sample", "v_prediction"):
        s = DDIMScheduler(num_train_timesteps=1000, prediction_type=kind, timestep_spacing="leading")
        out[f"ddim.{kind}"] = run(s, net, lambda noise, last: {
            "eta": 0.5, "use_clipped_model_output": True, "variance_noise": torch.zeros(SHAPE) if last else noise()})
    for variance in ("fixed_small", "fixed_large"):
        s = DDPMScheduler(num_train_timesteps=1000, variance_type=variance, timestep_spacing="leading")
        out[f"ancestral.{variance}"] = run(s, net, None)
    return out


def run(scheduler, net, step_arguments):
    g = torch.Generator("cpu").manual_seed(11)
    noise = lambda: torch.randn(SHAPE, generator=g)
    x, states = noise(), []
    scheduler.set_timesteps(10)
    for t in scheduler.timesteps:
        output = net(x, t.repeat(SHAPE[0]))
        more = {"generator": g} if step_arguments is None else step_arguments(noise, t == 0)
        x = scheduler.step(output, t, x, **more).prev_sample
        states.append(x)
    return torch.stack(states)


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    values = {}
    peer_tables(values)
    peer_sampling(values)
    peer_losses(values)
    even_grid(values)
    for name, tensors in (("torch_rng", torch_rng()), ("peer", values), ("diffusers", diffusers_values())):
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / f"{name}.safetensors")


if __name__ == "__main__":
    with torch.inference_mode():
        main()
