"""Golden values of the U-Nets of diffusers and of OpenAI's guided-diffusion, for crates/difusi-nn/tests and crates/difusi/tests.

    pip install diffusers==0.42.1 safetensors torch                 # made with torch 2.15 on a CPU
    git clone https://github.com/openai/guided-diffusion PLACE      # made with commit 22e0df8
    OMP_NUM_THREADS=1 python xtask/golden/adm_golden.py PLACE       # from the repository's root

Writes to crates/difusi-nn/tests/golden:
  adm_diffusers.safetensors, adm_guided.safetensors
      for each case inputs and output only: the weights come from a formula that the test also knows (see `formula`); the arguments
      stand in the metadata under "cases", as JSON, with the names and shapes of the tensors
  adm_classifier.safetensors
      the same of a classifier of guided-diffusion: log-probabilities, and the gradient in x of those of two labels
  adm_names.json
      arguments, and names and shapes of the tensors, of the published networks
and to crates/difusi/tests/golden:
  adm_pipeline.safetensors
      pictures that diffusers' DDPMPipeline draws with a network of formula weights; the configs stand in the metadata

Images are [B, C, H, W].
"""

import json
import math
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors.torch import save_file

NN = Path("crates/difusi-nn/tests/golden")
DIFUSI = Path("crates/difusi/tests/golden")

HO = dict(downsample_padding=0, flip_sin_to_cos=False, freq_shift=1, norm_eps=1e-6, attention_head_dim=None)


def kinds(attention, down="DownBlock2D", up="UpBlock2D"):
    """Down and up block types for a list of whether each stage has attention."""
    return dict(
        down_block_types=["AttnDownBlock2D" if a else down for a in attention],
        up_block_types=["AttnUpBlock2D" if a else up for a in reversed(attention)],
    )


RESNET = dict(down="ResnetDownsampleBlock2D", up="ResnetUpsampleBlock2D")
DIFFUSERS_CASES = {
    "ho": (dict(HO, block_out_channels=[16, 32, 32], norm_num_groups=8, **kinds([0, 1, 0])), (16, 16)),
    "heads": (dict(block_out_channels=[16, 32], norm_num_groups=4, layers_per_block=1, in_channels=1, out_channels=1,
                   **kinds([1, 1])), (8, 12)),
    "resnet": (dict(block_out_channels=[16, 16, 32], norm_num_groups=8, downsample_type="resnet", upsample_type="resnet",
                    resnet_time_scale_shift="scale_shift", attn_norm_num_groups=8, num_class_embeds=5, out_channels=6,
                    layers_per_block=1, **kinds([0, 1, 1], **RESNET)), (8, 8)),
    "resnet_add": (dict(block_out_channels=[8, 16], norm_num_groups=4, downsample_type="resnet", upsample_type="resnet",
                        attention_head_dim=4, in_channels=1, out_channels=1, layers_per_block=1, dropout=0.3,
                        **kinds([0, 0], **RESNET)), (4, 8)),
    "uneven": (dict(block_out_channels=[16, 24], norm_num_groups=8, layers_per_block=1, in_channels=2, out_channels=5,
                    add_attention=False, **kinds([0, 0])), (8, 4)),
    "one_stage": (dict(HO, block_out_channels=[8], norm_num_groups=4, layers_per_block=1, **kinds([1])), (5, 7)),
}

SMALL = dict(num_channels=32, channel_mult="1,2", image_size=16, num_res_blocks=1)
GUIDED_CASES = {
    "plain": (dict(SMALL, attention_resolutions="8", num_heads=1, use_scale_shift_norm=False), False),
    "legacy": (dict(SMALL, attention_resolutions="16,8", num_heads=4), True),
    "new": (dict(SMALL, attention_resolutions="8", num_heads=2, use_new_attention_order=True), False),
    "imagenet": (dict(SMALL, channel_mult="1,1,2", attention_resolutions="8,4", num_head_channels=16, resblock_updown=True,
                      use_new_attention_order=True, class_cond=True, num_classes=5, dropout=0.1), True),
    "no_attention": (dict(SMALL, attention_resolutions="64", num_res_blocks=2), False),
}

CIFAR10 = dict(HO, sample_size=32, block_out_channels=[128, 256, 256, 256], **kinds([0, 1, 0, 0]))
CELEBAHQ = dict(HO, sample_size=256, block_out_channels=[128, 128, 256, 256, 512, 512], **kinds([0, 0, 0, 0, 1, 0]))
IMAGENET64 = dict(image_size=64, num_channels=192, num_res_blocks=3, num_head_channels=64, attention_resolutions="32,16,8",
                  dropout=0.1, class_cond=True, use_scale_shift_norm=True, resblock_updown=True, use_fp16=True,
                  use_new_attention_order=True)


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
    if name.endswith(".bias"):
        v = 0.2 * u
    elif len(shape) == 1:  # the gain of a norm
        v = 1.0 + 0.4 * u
    elif name in ("class_embedding.weight", "label_emb.weight"):
        v = 1.5 * u
    else:
        v = 1.5 * u / math.sqrt(math.prod(shape[1:]))
    return torch.from_numpy(v.astype(np.float32)).reshape(shape)


def fill(net):
    net.load_state_dict({k: formula(k, tuple(v.shape)) for k, v in net.state_dict().items()})
    return net.eval()


def shapes(net):
    return {k: list(v.shape) for k, v in net.state_dict().items()}


def show(case, net, y, again):
    """float64 as well: how far apart two correct f32 programs may be."""
    with torch.no_grad():
        y64 = again(net.double())
    print(f"{case:14} max |y| {y.abs().max():.3f}  f32 to f64 {(y - y64).abs().max():.1e}")


def diffusers_cases():
    tensors, meta = {}, {}
    generator = torch.Generator().manual_seed(2)
    for case, (args, size) in DIFFUSERS_CASES.items():
        net = fill(UNet2DModel(**args))
        x = torch.randn(2, args.get("in_channels", 3), *size, generator=generator)
        t, labels = torch.tensor([3.0, 999.0]), None
        if args.get("num_class_embeds"):
            labels = torch.tensor([4, 1])
            tensors[f"{case}/labels"] = labels.float()
        with torch.no_grad():
            y = net(x, t, labels).sample
        show(case, net, y, lambda net: net(x.double(), t, labels).sample)
        tensors |= {f"{case}/x": x, f"{case}/t": t, f"{case}/y": y.contiguous()}
        meta[case] = {"args": args, "tensors": shapes(net)}
    save_file(tensors, NN / "adm_diffusers.safetensors", {"cases": json.dumps(meta)})


def guided(script_util, args, learn_sigma):
    args = dict(script_util.model_and_diffusion_defaults(), learn_sigma=learn_sigma, **args)
    script_util.NUM_CLASSES = args.pop("num_classes", 1000)
    return script_util.create_model_and_diffusion(**args)[0]


def guided_cases(script_util):
    tensors, meta = {}, {}
    generator = torch.Generator().manual_seed(3)
    for case, (args, learn_sigma) in GUIDED_CASES.items():
        net = fill(guided(script_util, args, learn_sigma))
        x = torch.randn(2, 3, 16, 16, generator=generator)
        t, more = torch.tensor([3.0, 999.0]), {}
        if args.get("class_cond"):
            more["y"] = torch.tensor([4, 1])
            tensors[f"{case}/labels"] = more["y"].float()
        with torch.no_grad():
            y = net(x, t, **more)
        tensors |= {f"{case}/x": x, f"{case}/t": t, f"{case}/y": y.contiguous()}
        meta[case] = {"args": args, "learn_sigma": learn_sigma, "tensors": shapes(net)}
        print(f"{case:14} max |y| {y.abs().max():.3f}")
    save_file(tensors, NN / "adm_guided.safetensors", {"cases": json.dumps(meta)})


CLASSIFIER = dict(image_size=64, classifier_width=32, classifier_depth=1, classifier_attention_resolutions="32,8", num_classes=10)


def classifier_case(script_util):
    """Classes are a constant there: the last map is made anew."""
    args = dict(script_util.classifier_defaults(), **CLASSIFIER)
    count = args.pop("num_classes")
    net = script_util.create_classifier(**args)
    net.out[2].c_proj = torch.nn.Conv1d(net.out[2].c_proj.in_channels, count, 1)
    fill(net)
    x = torch.from_numpy(uniforms("x", 2 * 3 * 64 * 64).astype(np.float32)).reshape(2, 3, 64, 64).requires_grad_()
    t, labels = torch.tensor([3.0, 999.0]), torch.tensor([4, 1])
    log = torch.log_softmax(net(x, t), 1)
    log[range(2), labels].sum().backward()
    print(f"{'classifier':14} log p {log.detach().min():.3f} to {log.detach().max():.3f}, |grad| {x.grad.abs().max():.2e}")
    tensors = dict(t=t, labels=labels.float(), y=log.detach().contiguous(), gradient=x.grad[:, :, ::4, ::4].contiguous())
    save_file(tensors, NN / "adm_classifier.safetensors", {"args": json.dumps(CLASSIFIER), "tensors": json.dumps(shapes(net))})


def names(script_util):
    with torch.device("meta"):
        nets = {
            "cifar10": ("diffusers", CIFAR10, UNet2DModel(**CIFAR10)),
            "celebahq": ("diffusers", CELEBAHQ, UNet2DModel(**CELEBAHQ)),
            "imagenet64": ("guided", IMAGENET64, guided(script_util, IMAGENET64, True)),
        }
    said = {
        name: {"of": of, "args": args, "parameters": sum(p.numel() for p in net.parameters()), "tensors": shapes(net)}
        for name, (of, args, net) in nets.items()
    }
    (NN / "adm_names.json").write_text(json.dumps(said, separators=(",", ":")) + "\n")


def pipeline():
    """Ten ancestral steps of fifty, with the noise of torch's generator."""
    args = dict(HO, sample_size=[8, 12], block_out_channels=[8, 16], norm_num_groups=4, layers_per_block=1, **kinds([0, 1]))
    net = fill(UNet2DModel(**args))
    scheduler = DDPMScheduler(num_train_timesteps=50, variance_type="fixed_large")
    with tempfile.TemporaryDirectory() as folder:
        DDPMPipeline(net, scheduler).save_pretrained(folder)
        pipe = DDPMPipeline.from_pretrained(folder)
        files = {
            name: (Path(folder) / name).read_text()
            for name in ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json"]
        }
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(5)
    pictures = pipe(batch_size=3, generator=generator, num_inference_steps=10, output_type="pt").images
    save_file({"samples": pictures.contiguous()}, DIFUSI / "adm_pipeline.safetensors", files)


def main():
    sys.path.insert(0, sys.argv[1])
    from guided_diffusion import script_util

    diffusers_cases()
    guided_cases(script_util)
    classifier_case(script_util)
    names(script_util)
    pipeline()


if __name__ == "__main__":
    sys.exit(main())
