"""The peer beside `difusi train mnist` and `difusi sample`: denoising-diffusion-pytorch on MNIST, for mnist_judge.py.

    pip install torch denoising-diffusion-pytorch
    python mnist_peer.py --data FOLDER --minutes 10 -o peer.npz      # trains so long, then draws 1,000 pictures
    python mnist_peer.py --minutes 0 --count 250 -o peer.npz         # only draws: the time of sampling

Same network as the preset, its own objective and EMA, 50 DDIM steps in batches of 250, two threads; minutes are those of
training steps alone. Prints one JSON line.
"""

import argparse
import copy
import gzip
import json
import pathlib
import time

import numpy as np
import torch
from denoising_diffusion_pytorch import GaussianDiffusion, Unet


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path, help="folder with the idx files, packed or not")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=4e-4)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    return parser.parse_args()


def training_pictures(folder):
    for name, opener in (("train-images-idx3-ubyte", open), ("train-images-idx3-ubyte.gz", gzip.open)):
        if (folder / name).exists():
            with opener(folder / name, "rb") as file:
                pixels = np.frombuffer(file.read(), np.uint8, offset=16)
            return torch.from_numpy(pixels.reshape(-1, 1, 28, 28).astype(np.float32) / 255)
    raise SystemExit(f"no train-images-idx3-ubyte[.gz] in {folder}")


def train(diffusion, given, mixed):
    pictures = training_pictures(given.data)
    adam = torch.optim.Adam(diffusion.parameters(), lr=given.learning_rate, betas=(0.9, 0.99))
    average, steps, seconds = copy.deepcopy(diffusion).eval(), 0, 0.0
    while seconds < 60 * given.minutes:
        begin = time.perf_counter()
        with mixed:
            loss = diffusion(pictures[torch.randint(len(pictures), (given.batch,))])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(diffusion.parameters(), 1.0)
        adam.step()
        adam.zero_grad(set_to_none=True)
        steps += 1
        with torch.no_grad():
            rate = min(0.995, (steps + 1) / (steps + 10))
            torch._foreach_lerp_(list(average.parameters()), list(diffusion.parameters()), 1 - rate)
        seconds += time.perf_counter() - begin
    return average, steps, seconds


def main():
    given = arguments()
    torch.manual_seed(0)
    torch.set_num_threads(given.threads)
    mixed = torch.autocast("cpu", dtype=torch.bfloat16, enabled=given.bf16)
    network = Unet(dim=32, dim_mults=(1, 2, 4), channels=1).to(memory_format=torch.channels_last)
    diffusion = GaussianDiffusion(network, image_size=28, timesteps=1000, sampling_timesteps=50)
    model, steps, trained = train(diffusion, given, mixed) if given.minutes else (diffusion.eval(), 0, 0.0)
    begin = time.perf_counter()
    with torch.no_grad(), mixed:
        drawn = [model.sample(batch_size=min(250, given.count - i)).float() for i in range(0, given.count, 250)]
    seconds = time.perf_counter() - begin
    pixels = (torch.cat(drawn) * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    np.savez_compressed(given.output, arr_0=pixels)
    print(json.dumps({"steps": steps, "training_seconds": trained, "pictures": len(pixels), "drawing_seconds": seconds}))


if __name__ == "__main__":
    main()
