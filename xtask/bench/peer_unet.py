"""The peer's half of `cargo xtask bench-peers`: the U-Net of denoising-diffusion-pytorch on PyTorch's CPU.

    python3 -m venv VENV && VENV/bin/pip install torch denoising-diffusion-pytorch
    cargo xtask bench-peers --python VENV/bin/python

Runs one mode per process, so that the peak memory is that mode's, and prints one JSON object: milliseconds of every training
step and forward pass after the warm-up, and the peak resident MiB once the training steps are done.
"""

import argparse
import json
import resource
import time

import torch
from denoising_diffusion_pytorch import Unet

WARM_UP = 3
MODES = ("f32", "f32_channels_last", "bf16", "bf16_channels_last")


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=MODES, required=True)
    for key in ("dim", "channels", "side", "train-batch", "forward-batch", "threads", "steps"):
        parser.add_argument("--" + key, type=int, required=True)
    parser.add_argument("--mults", type=lambda text: tuple(int(m) for m in text.split(",")), required=True)
    return parser.parse_args()


def milliseconds(work, runs):
    """The time of each of `runs` calls after the warm-up."""
    times = []
    for _ in range(WARM_UP + runs):
        begin = time.perf_counter()
        work()
        times.append((time.perf_counter() - begin) * 1000)
    return times[WARM_UP:]


def main():
    given = arguments()
    torch.manual_seed(0)
    torch.set_num_threads(given.threads)
    layout = torch.channels_last if given.mode.endswith("channels_last") else torch.contiguous_format
    mixed = torch.autocast("cpu", dtype=torch.bfloat16, enabled=given.mode.startswith("bf16"))

    network = Unet(dim=given.dim, dim_mults=given.mults, channels=given.channels).to(memory_format=layout)
    adam = torch.optim.Adam(network.parameters(), lr=1e-4, foreach=True)

    def pictures(count):
        return torch.randn(count, given.channels, given.side, given.side).to(memory_format=layout)

    def times(count):
        return torch.randint(1000, (count,)).float()

    noisy, target, when = pictures(given.train_batch), pictures(given.train_batch), times(given.train_batch)

    def training_step():
        adam.zero_grad(set_to_none=True)
        with mixed:
            output = network(noisy, when)
            loss = torch.nn.functional.mse_loss(output.float(), target)
        loss.backward()
        adam.step()

    found = {"mode": given.mode, "torch": torch.__version__}
    found["train_ms"] = milliseconds(training_step, given.steps)
    found["train_peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    noisy, when = pictures(given.forward_batch), times(given.forward_batch)

    @torch.no_grad()
    def forward():
        with mixed:
            network(noisy, when)

    found["forward_ms"] = milliseconds(forward, given.steps)
    print(json.dumps(found))


main()
