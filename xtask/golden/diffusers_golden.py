"""Step-for-step runs of diffusers' schedulers for crates/difusi-process/tests/golden/schedulers.safetensors.

Rerun (any directory; a throw-away environment is fine):

    python -m venv venv
    venv/bin/pip install torch==2.15 diffusers==0.42.1 scipy safetensors
    OMP_NUM_THREADS=1 venv/bin/python xtask/golden/diffusers_golden.py crates/difusi-process/tests/golden

A case is a scheduler class, its config and how it is run. Per case the file holds `NAME/timesteps`, `NAME/sigmas` (where the class has
them) and `NAME/x`: x after every step (after each 50th with `every` = 50), [step, B, C, H, W]; `NAME/x64` is the same scheduler computing
in f64. The file's metadata `cases` is JSON: per case the text of `scheduler_config.json` as diffusers saves it, the arguments of the run
and the factor of the initial noise. The script is ours, the numbers are theirs.

The network (`model`) and the noise (`noise`) are formulas that the Rust tests repeat in f64. Noise depends on the number of the step and
on which draw of that step it is, so that a draw that is not used moves nothing.
"""

import json
import math
import sys
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from diffusers import schedulers
from diffusers.schedulers import (
    scheduling_ddim, scheduling_ddpm, scheduling_dpmsolver_multistep, scheduling_dpmsolver_singlestep, scheduling_edm_dpmsolver_multistep,
    scheduling_euler_ancestral_discrete, scheduling_flow_match_euler_discrete, scheduling_k_dpm_2_ancestral_discrete, scheduling_lcm,
    scheduling_repaint, scheduling_sde_ve,
)
from diffusers.utils import logging
from safetensors.torch import save_file

SHAPE = (2, 3, 2, 1)
warnings.filterwarnings("ignore")
logging.set_verbosity_error()


def channels():
    return torch.arange(SHAPE[1], dtype=torch.float64)[None, :, None, None]


def model(x, t, learned=False):
    """Smooth and bounded; every input matters. The second half of the channels is the variance of `learned_range`."""
    x, t = x.double(), float(t)
    y = 0.9 * torch.sin(0.8 * x + 0.25 * channels() + 0.1) * (0.75 + 0.25 * math.cos(0.003 * t))
    if learned:
        y = torch.cat([y, 0.8 * torch.cos(1.1 * x + 0.3 * channels())], dim=1)
    return y.float()


def noise(step, draw=0):
    """Draw number `draw` of step `step`; step -1 is the start."""
    i = torch.arange(math.prod(SHAPE), dtype=torch.float64)
    return (1.4 * torch.sin(0.7 * i * i + 1.9 * (step + 1) + 2.3 * draw + 0.3)).float().reshape(SHAPE)


class Draws:
    """Stands in for randn_tensor."""

    step, draw = 0, 0

    def __call__(self, shape, **_):
        assert tuple(shape) == SHAPE
        self.draw += 1
        return noise(self.step, self.draw - 1)

    def at(self, step):
        self.step, self.draw = step, 0


DRAWS = Draws()
for module in (
    scheduling_ddim, scheduling_ddpm, scheduling_dpmsolver_multistep, scheduling_dpmsolver_singlestep, scheduling_edm_dpmsolver_multistep,
    scheduling_euler_ancestral_discrete, scheduling_flow_match_euler_discrete, scheduling_k_dpm_2_ancestral_discrete, scheduling_lcm,
    scheduling_repaint, scheduling_sde_ve,
):
    module.randn_tensor = DRAWS

# What models ship, as their scheduler_config.json says (keys of other classes left out: the class would ignore them).
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SD_FILE = {**SD, "steps_offset": 1}
LEADING = {**SD_FILE, "timestep_spacing": "leading"}
TRAILING = {**SD, "timestep_spacing": "trailing"}
COSINE = {"beta_schedule": "squaredcos_cap_v2"}
IF = {**COSINE, "variance_type": "learned_range", "thresholding": True, "dynamic_thresholding_ratio": 0.95, "sample_max_value": 1.5,
      "clip_sample": True}
V = {"prediction_type": "v_prediction"}
X0 = {"prediction_type": "sample"}
KARRAS, EXPONENTIAL, BETA = ({f"use_{k}_sigmas": True} for k in ("karras", "exponential", "beta"))
SVD = {**LEADING, **V, **KARRAS, "sigma_min": 0.002, "sigma_max": 700.0, "timestep_type": "continuous"}
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
FLUX = {"shift": 3.0, "use_dynamic_shifting": True}


def cases():
    """(name, class, config, run)."""
    yield from ddpm()
    yield from ddim()
    yield from pndm()
    yield from sigma_space()
    yield from dpmsolver()
    yield from unipc_deis()
    yield from few_steps()
    yield from flow_edm()


def ddpm():
    c = "DDPMScheduler"
    yield "ddpm-cifar10", c, {"variance_type": "fixed_large"}, {"steps": 20}
    yield "ddpm-cifar10-50", c, {"variance_type": "fixed_large"}, {"steps": 50}
    yield "ddpm-cifar10-1000", c, {"variance_type": "fixed_large"}, {"steps": 1000, "every": 50}
    yield "ddpm-small", c, {}, {"steps": 10}
    yield "ddpm-small-1000", c, {}, {"steps": 1000, "every": 50}
    yield "ddpm-small-log", c, {"variance_type": "fixed_small_log", **COSINE, "timestep_spacing": "trailing"}, {"steps": 10}
    yield "ddpm-sigmoid", c, {"beta_schedule": "sigmoid", "timestep_spacing": "linspace"}, {"steps": 10}
    yield "ddpm-laplace-v", c, {"beta_schedule": "laplace", **V}, {"steps": 10}
    yield "ddpm-if", c, IF, {"steps": 10}
    yield "ddpm-if-trailing", c, {**IF, "timestep_spacing": "trailing"}, {"steps": 20}
    yield "ddpm-if-custom", c, IF, {"timesteps": [995, 800, 640, 500, 333, 210, 100, 40, 7]}
    yield "ddpm-offset", c, {**LEADING, "clip_sample": False}, {"steps": 10}
    yield "ddpm-x0-range", c, {**X0, "clip_sample_range": 0.7}, {"steps": 10}
    yield "ddpm-zero-snr", c, {**TRAILING, **V, "rescale_betas_zero_snr": True}, {"steps": 10}
    yield "ddpm-short", c, {"num_train_timesteps": 50}, {"steps": 50}
    yield "ddpm-betas", c, {"trained_betas": [round(0.01 + 0.002 * i, 4) for i in range(20)], "num_train_timesteps": 20}, {"steps": 7}


def ddim():
    c = "DDIMScheduler"
    yield "ddim-default", c, {}, {"steps": 10}
    yield "ddim-sd15", c, {**SD_FILE, "clip_sample": False, "set_alpha_to_one": False}, {"steps": 20}
    yield "ddim-sd21", c, {**SD_FILE, **V, "clip_sample": False, "set_alpha_to_one": False}, {"steps": 50}
    yield "ddim-sd21-eta", c, {**SD_FILE, **V, "clip_sample": False, "set_alpha_to_one": False}, {"steps": 10, "eta": 0.7}
    yield "ddim-eta-clipped", c, {"timestep_spacing": "trailing"}, {"steps": 10, "eta": 1.0, "use_clipped_model_output": True}
    yield "ddim-linspace", c, {**COSINE, "timestep_spacing": "linspace"}, {"steps": 13}
    yield "ddim-x0", c, X0, {"steps": 5}
    yield "ddim-threshold", c, {"thresholding": True, "sample_max_value": 1.7}, {"steps": 10}
    yield "ddim-zero-snr", c, {**TRAILING, **V, "clip_sample": False, "rescale_betas_zero_snr": True}, {"steps": 10}
    c = "DDIMInverseScheduler"
    yield "inverse-sd15", c, {**SD_FILE, "clip_sample": False, "set_alpha_to_one": False}, {"steps": 20}
    yield "inverse-v", c, {**TRAILING, **V, "clip_sample": False}, {"steps": 10}
    yield "inverse-clip", c, {}, {"steps": 10}


def pndm():
    c = "PNDMScheduler"
    sd15 = {**SD_FILE, "skip_prk_steps": True, "set_alpha_to_one": False}
    for steps in (1, 2, 5, 50):
        yield f"pndm-sd15-{steps}", c, sd15, {"steps": steps}
    yield "pndm-sd21", c, {**sd15, **V}, {"steps": 20}
    yield "pndm-prk", c, {}, {"steps": 10}
    yield "pndm-prk-v", c, {**SD_FILE, **V}, {"steps": 7}
    yield "pndm-linspace", c, {**sd15, "steps_offset": 0, "timestep_spacing": "linspace"}, {"steps": 10}
    yield "pndm-trailing", c, {**TRAILING, "skip_prk_steps": True, "set_alpha_to_one": True}, {"steps": 10}


def grids(short, name, more):
    """Every spacing and every list of sigmas."""
    for spacing in ("leading", "linspace", "trailing"):
        yield f"{short}-{spacing}", name, {**SD_FILE, "timestep_spacing": spacing, **more}, {"steps": 7}
    for kind, sigmas in (("karras", KARRAS), ("exponential", EXPONENTIAL), ("beta", BETA)):
        yield f"{short}-{kind}", name, {**SD, **sigmas, **more}, {"steps": 10}


def sigma_space():
    c = "EulerDiscreteScheduler"
    yield "euler-default", c, {}, {"steps": 10}
    yield "euler-sdxl", c, LEADING, {"steps": 50}
    yield "euler-sd-turbo", c, TRAILING, {"steps": 1}
    yield "euler-svd", c, SVD, {"steps": 20}
    yield "euler-zero-snr", c, {**TRAILING, **V, "rescale_betas_zero_snr": True}, {"steps": 10}
    yield "euler-sigma-min", c, {**SD, "final_sigmas_type": "sigma_min"}, {"steps": 10}
    yield "euler-log-linear", c, {**SD, "interpolation_type": "log_linear"}, {"steps": 10}
    yield "euler-x0", c, {**SD, **X0}, {"steps": 10}
    yield "euler-karras-range", c, {**SD, **KARRAS, "sigma_min": 0.05, "sigma_max": 9.0}, {"steps": 10}
    yield "euler-timesteps", c, SD, {"timesteps": [999, 700, 500, 250, 100, 3]}
    yield "euler-sigmas", c, SD, {"sigmas": [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029]}
    yield from grids("euler", c, {})
    c = "EulerAncestralDiscreteScheduler"
    yield "euler-a-sdxl-turbo", c, TRAILING, {"steps": 4}
    yield "euler-a-sdxl-turbo-1", c, TRAILING, {"steps": 1}
    yield "euler-a-leading", c, LEADING, {"steps": 20}
    yield "euler-a-v", c, {**SD, **V}, {"steps": 10}
    yield "euler-a-zero-snr", c, {**TRAILING, **V, "rescale_betas_zero_snr": True}, {"steps": 10}
    c = "LMSDiscreteScheduler"
    yield "lms-default", c, {}, {"steps": 10}
    yield "lms-sd15", c, LEADING, {"steps": 50}
    yield "lms-v", c, {**SD, **V}, {"steps": 5}
    yield "lms-x0", c, {**SD, **X0}, {"steps": 10}
    yield from grids("lms", c, {})
    c = "HeunDiscreteScheduler"
    yield "heun-default", c, {}, {"steps": 10}
    yield "heun-v", c, {**LEADING, **V}, {"steps": 20}
    yield "heun-clip", c, {"clip_sample": True, "clip_sample_range": 1.5}, {"steps": 10}
    yield "heun-x0", c, {**SD, **X0}, {"steps": 5}
    yield "heun-exp", c, {"beta_schedule": "exp"}, {"steps": 10}
    yield "heun-timesteps", c, SD, {"timesteps": [999, 700, 500, 250, 100, 3]}
    yield from grids("heun", c, {})
    for short, c in (("kdpm2", "KDPM2DiscreteScheduler"), ("kdpm2-a", "KDPM2AncestralDiscreteScheduler")):
        yield f"{short}-default", c, {}, {"steps": 10}
        yield f"{short}-v", c, {**LEADING, **V}, {"steps": 20}
        yield from grids(short, c, {})


def dpmsolver():
    c = "DPMSolverMultistepScheduler"
    eps = {**SD, "final_sigmas_type": "sigma_min"}
    for algorithm, base in (("dpmsolver++", SD), ("sde-dpmsolver++", SD), ("dpmsolver", eps), ("sde-dpmsolver", eps)):
        for order in (1, 2, 3):
            for kind in ("midpoint", "heun") if order == 2 else ("midpoint",):
                if (algorithm, order) == ("sde-dpmsolver", 3):
                    continue  # not implemented there
                config = {**base, "algorithm_type": algorithm, "solver_order": order, "solver_type": kind}
                yield f"dpm-{algorithm}-{order}-{kind}", c, config, {"steps": 10}
                if order > 1:
                    yield f"dpm-{algorithm}-{order}-{kind}-20", c, {**config, **V}, {"steps": 20}
    yield "dpm-sdxl", c, {**LEADING, **KARRAS}, {"steps": 20}
    yield "dpm-sdxl-50", c, LEADING, {"steps": 50}
    yield "dpm-sdxl-sde", c, {**LEADING, **KARRAS, "algorithm_type": "sde-dpmsolver++"}, {"steps": 20}
    yield "dpm-euler-at-final", c, {**SD, **KARRAS, "euler_at_final": True, "final_sigmas_type": "sigma_min"}, {"steps": 20}
    yield "dpm-no-lower", c, {**SD, "lower_order_final": False, "final_sigmas_type": "sigma_min", "solver_order": 3}, {"steps": 10}
    yield "dpm-lu", c, {**SD, "use_lu_lambdas": True}, {"steps": 10}
    yield "dpm-if", c, {k: v for k, v in IF.items() if k != "clip_sample"} | {"timestep_spacing": "trailing"}, {"steps": 10}
    yield "dpm-threshold-eps", c, {**eps, "algorithm_type": "dpmsolver", "thresholding": True, "sample_max_value": 2.0}, {"steps": 10}
    yield "dpm-lambda", c, {**COSINE, "lambda_min_clipped": -5.1}, {"steps": 10}
    yield "dpm-x0", c, {**SD, **X0}, {"steps": 5}
    yield "dpm-x0-eps", c, {**eps, **X0, "algorithm_type": "dpmsolver"}, {"steps": 5}
    yield "dpm-zero-snr", c, {**TRAILING, **V, "rescale_betas_zero_snr": True}, {"steps": 10}
    yield "dpm-flow", c, {**FLOW, "flow_shift": 3.0}, {"steps": 10}
    yield "dpm-timesteps", c, SD, {"timesteps": [999, 845, 730, 587, 443, 310, 193, 116, 53, 13]}
    yield from grids("dpm", c, {})
    c = "DPMSolverSinglestepScheduler"
    kinds = ((1, "midpoint", 5), (2, "midpoint", 10), (2, "heun", 11), (3, "midpoint", 10), (3, "heun", 9), (3, "heun", 11))
    for order, kind, steps in kinds:
        yield f"single-{order}-{kind}-{steps}", c, {**SD, "solver_order": order, "solver_type": kind}, {"steps": steps}
        sde = {**SD, **V, "solver_order": order, "solver_type": kind, "algorithm_type": "sde-dpmsolver++"}
        yield f"single-sde-{order}-{kind}-{steps}", c, sde, {"steps": steps}
        config = {**eps, "solver_order": order, "solver_type": kind, "algorithm_type": "dpmsolver"}
        yield f"single-eps-{order}-{kind}-{steps}", c, config, {"steps": steps}
    yield "single-lower", c, {**SD, "solver_order": 3, "lower_order_final": True}, {"steps": 20}
    yield "single-lower-2", c, {**SD, "solver_order": 2, "lower_order_final": True, "final_sigmas_type": "sigma_min"}, {"steps": 7}
    yield "single-if", c, {**COSINE, "thresholding": True, "sample_max_value": 1.5, "variance_type": "learned_range"}, {"steps": 10}
    yield "single-karras", c, {**SD, **KARRAS}, {"steps": 10}
    yield "single-exponential", c, {**SD, **EXPONENTIAL}, {"steps": 10}
    yield "single-beta", c, {**SD, **BETA}, {"steps": 10}
    yield "single-flow", c, {**FLOW, "flow_shift": 3.0}, {"steps": 10}


def unipc_deis():
    c = "UniPCMultistepScheduler"
    for order in (1, 2, 3):
        for kind in ("bh1", "bh2"):
            for x0 in (True, False):
                more = {} if x0 and kind == "bh2" else {"final_sigmas_type": "sigma_min"}  # bh1 is not finite at sigma 0
                more |= {} if x0 else V
                config = {**SD, "solver_order": order, "solver_type": kind, "predict_x0": x0, **more}
                yield f"unipc-{order}-{kind}-{'x0' if x0 else 'eps'}", c, config, {"steps": 10}
    yield "unipc-sdxl-50", c, LEADING, {"steps": 50}
    yield "unipc-sdxl", c, {**LEADING, **KARRAS}, {"steps": 20}
    yield "unipc-5", c, {**SD, "solver_order": 3}, {"steps": 5}
    yield "unipc-sigma-min", c, {**SD, "final_sigmas_type": "sigma_min", "solver_order": 3}, {"steps": 10}
    yield "unipc-no-lower", c, {**SD, "final_sigmas_type": "sigma_min", "solver_order": 3, "lower_order_final": False}, {"steps": 10}
    yield "unipc-corrector-off", c, {**SD, "disable_corrector": [0, 3]}, {"steps": 10}
    yield "unipc-threshold", c, {**COSINE, "thresholding": True, "sample_max_value": 1.5}, {"steps": 10}
    yield "unipc-zero-snr", c, {**TRAILING, **V, "rescale_betas_zero_snr": True}, {"steps": 10}
    yield "unipc-flow", c, {**FLOW, "flow_shift": 3.0}, {"steps": 10}
    yield "unipc-flow-terminal", c, {**FLOW, "shift_terminal": 0.1, "use_dynamic_shifting": True}, {"steps": 10, "mu": 0.8}
    yield "unipc-flow-karras", c, {**FLOW, **KARRAS, "sigma_min": 0.01, "sigma_max": 50.0}, {"steps": 10}
    yield "unipc-flow-sigmas", c, FLOW, {"sigmas": [0.95, 0.8, 0.6, 0.35, 0.1]}
    yield "unipc-x0", c, {**SD, **X0}, {"steps": 10}
    yield from grids("unipc", c, {})
    c = "DEISMultistepScheduler"
    for order in (1, 2, 3):
        yield f"deis-{order}", c, {**SD, "solver_order": order}, {"steps": 10}
        yield f"deis-{order}-20", c, {**SD, **V, "solver_order": order}, {"steps": 20}
    yield "deis-no-lower", c, {**SD, "solver_order": 3, "lower_order_final": False}, {"steps": 10}
    yield "deis-threshold", c, {**SD, "thresholding": True, "sample_max_value": 1.5}, {"steps": 10}
    yield "deis-flow", c, {**FLOW, "flow_shift": 3.0}, {"steps": 10}
    yield from grids("deis", c, {})


def few_steps():
    c = "LCMScheduler"
    lcm = {**LEADING, "set_alpha_to_one": False}
    for steps in (1, 4, 8):
        yield f"lcm-{steps}", c, lcm, {"steps": steps}
    yield "lcm-clip-v", c, {"clip_sample": True, **V, "original_inference_steps": 100}, {"steps": 6}
    yield "lcm-threshold", c, {"thresholding": True, "sample_max_value": 1.5, **X0, "timestep_scaling": 1.0}, {"steps": 4}
    yield "lcm-strength", c, lcm, {"steps": 4, "strength": 0.6}
    yield "lcm-timesteps", c, lcm, {"timesteps": [999, 759, 499, 259]}
    yield "ipndm", "IPNDMScheduler", {}, {"steps": 10}
    yield "ipndm-50", "IPNDMScheduler", {}, {"steps": 50}
    yield "ipndm-3", "IPNDMScheduler", {}, {"steps": 3}


def flow_edm():
    c = "FlowMatchEulerDiscreteScheduler"
    yield "flow-sd3", c, {"shift": 3.0}, {"steps": 28}
    yield "flow-1", c, {}, {"steps": 10}
    yield "flow-flux", c, FLUX, {"sigmas": [float(s) for s in np.linspace(1.0, 1 / 10, 10)], "mu": 1.15}
    yield "flow-schnell", c, {}, {"sigmas": [1.0, 0.75, 0.5, 0.25]}
    yield "flow-dynamic-linear", c, {**FLUX, "time_shift_type": "linear", "shift_terminal": 0.1}, {"steps": 10, "mu": 0.7}
    yield "flow-terminal", c, {"shift": 2.0, "shift_terminal": 0.02}, {"steps": 10}
    yield "flow-stochastic", c, {"shift": 3.0, "stochastic_sampling": True}, {"steps": 10}
    yield "flow-invert", c, {"invert_sigmas": True}, {"steps": 10}
    yield "flow-timesteps", c, {"shift": 3.0}, {"timesteps": [1000.0, 900.0, 640.0, 300.0, 50.0]}
    for kind, sigmas in (("karras", KARRAS), ("exponential", EXPONENTIAL), ("beta", BETA)):
        yield f"flow-{kind}", c, sigmas, {"steps": 10}
    c = "FlowMatchHeunDiscreteScheduler"
    yield "flow-heun", c, {"shift": 3.0}, {"steps": 10}
    yield "flow-heun-1", c, {}, {"steps": 5}
    c = "EDMEulerScheduler"
    yield "edm-euler", c, {}, {"steps": 18}
    yield "edm-euler-exponential", c, {"sigma_schedule": "exponential", **V, "sigma_data": 1.0, "rho": 5.0}, {"steps": 10}
    yield "edm-euler-min", c, {"final_sigmas_type": "sigma_min", "sigma_max": 40.0}, {"steps": 10}
    c = "EDMDPMSolverMultistepScheduler"
    for order in (1, 2, 3):
        yield f"edm-dpm-{order}", c, {"solver_order": order}, {"steps": 10}
    yield "edm-dpm-cosxl", c, {**V, "sigma_data": 1.0, "sigma_max": 120.0, "sigma_schedule": "exponential"}, {"steps": 20}
    yield "edm-dpm-heun", c, {"solver_type": "heun"}, {"steps": 20}
    sde = {"algorithm_type": "sde-dpmsolver++"}
    yield "edm-dpm-sde", c, sde, {"steps": 10}
    yield "edm-dpm-sde-heun", c, {**sde, "solver_type": "heun", "final_sigmas_type": "sigma_min"}, {"steps": 10}
    yield "edm-dpm-threshold", c, {"thresholding": True, "sample_max_value": 1.5, "euler_at_final": True}, {"steps": 20}


GRID_ARGUMENTS = ("timesteps", "sigmas", "mu", "strength")
STEP_ARGUMENTS = ("eta", "use_clipped_model_output")


# Cases in which diffusers' own f32 loses more than the tests allow: sigma 4096, differences of logarithms. Run once more in f64.
WIDE = ("euler-zero-snr", "euler-a-zero-snr", "deis-3-20", "deis-flow")


def run(scheduler, arguments, wide=False):
    """x after every step."""
    grid = {k: v for k, v in arguments.items() if k in GRID_ARGUMENTS}
    if "sigmas" in grid and type(scheduler).__name__ == "UniPCMultistepScheduler":
        grid["sigmas"] = np.array(grid["sigmas"])
    scheduler.set_timesteps(arguments.get("steps"), **grid)
    learned = getattr(scheduler.config, "variance_type", None) == "learned_range"
    number = torch.float64 if wide else torch.float32
    if wide:
        scheduler.sigmas = scheduler.sigmas.double()
    x, states = noise(-1).to(number) * getattr(scheduler, "init_noise_sigma", 1.0), []
    for i, t in enumerate(scheduler.timesteps):
        DRAWS.at(i)
        scaled = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        more = {k: v for k, v in arguments.items() if k in STEP_ARGUMENTS}
        with mock.patch.object(torch, "float32", number):  # some steps ask for f32
            x = scheduler.step(model(scaled, t, learned).to(number), t, x, **more).prev_sample
        states.append(x)
    every = arguments.get("every", 1)
    return torch.stack(states[every - 1::every])


def stretch(shape_of):
    """A picture and a mask for RePaint."""
    i = torch.arange(math.prod(shape_of), dtype=torch.float64)
    image = (0.8 * torch.cos(1.3 * i + 0.4)).float().reshape(shape_of)
    return image, (torch.cos(2.1 * i) > 0).float().reshape(shape_of)


def repaint():
    for name, config, steps, jump in (
        ("repaint", {"num_train_timesteps": 20, "beta_end": 0.3}, 20, (4, 2)),
        ("repaint-eta", {"num_train_timesteps": 20, "beta_end": 0.3, "eta": 0.6}, 20, (5, 3)),
        ("repaint-strided", {"beta_schedule": "squaredcos_cap_v2", "clip_sample": False}, 10, (10, 1)),
    ):
        s = schedulers.RePaintScheduler(**config)
        s.set_timesteps(steps, *jump)
        image, mask = stretch(SHAPE)
        x, states, last = noise(-1), [], int(s.timesteps[0]) + 1
        for i, t in enumerate(s.timesteps):
            DRAWS.at(i)
            if t < last:
                x = s.step(model(x, t), t, x, image, mask).prev_sample
            else:
                x = s.undo_step(x, last)
            last = int(t)
            states.append(x)
        yield name, s, torch.stack(states), {"steps": steps, "jump_length": jump[0], "jump_n_sample": jump[1]}


def sde_ve(wide=False):
    """As the pipeline runs it: the last step without its noise. The network is a score, pulled towards 0 from sigma."""
    number = torch.float64 if wide else torch.float32
    for name, config, steps in (("sde-ve", {"sigma_max": 50.0}, 10), ("sde-ve-2", {"sigma_max": 20.0, "correct_steps": 2, "snr": 0.1}, 7)):
        s = schedulers.ScoreSdeVeScheduler(**config)
        s.set_timesteps(steps)
        s.set_sigmas(steps)
        s.discrete_sigmas = s.discrete_sigmas.to(number)
        x, states = noise(-1).to(number) * s.init_noise_sigma, []
        for i, t in enumerate(s.timesteps):
            DRAWS.at(i)
            score = lambda x: (-(x + 0.3 * torch.sin(x)) / (s.sigmas[i].double() ** 2 + 0.25)).float().to(number)
            for _ in range(s.config.correct_steps):
                x = s.step_correct(score(x), x).prev_sample
            out = s.step_pred(score(x), t, x)
            x = out.prev_sample
            states.append(x)
        states[-1] = out.prev_sample_mean
        yield name, s, torch.stack(states), {"steps": steps}


def main():
    folder, tensors, told = Path(sys.argv[1]), {}, {}
    folder.mkdir(parents=True, exist_ok=True)

    def keep(name, scheduler, config, x, arguments):
        assert name not in told and torch.isfinite(x).all(), name
        # The sigmas of ScoreSdeVe that its steps use are the discrete ones.
        sigmas = getattr(scheduler, "discrete_sigmas", getattr(scheduler, "sigmas", None))
        tensors[f"{name}/timesteps"] = scheduler.timesteps.float().contiguous()
        if sigmas is not None:
            tensors[f"{name}/sigmas"] = sigmas.float().contiguous()
        tensors[f"{name}/x"] = x.float().contiguous()
        start = float(getattr(scheduler, "init_noise_sigma", 1.0))
        told[name] = {"config": config, "run": arguments, "init_noise_sigma": start}

    for name, cls, config, arguments in cases():
        scheduler = getattr(schedulers, cls)(**config)
        saved = scheduler.to_json_string()  # before the run, since DPMSolverSinglestepScheduler changes its own config
        keep(name, scheduler, saved, run(scheduler, arguments), arguments)
        if name in WIDE:
            tensors[f"{name}/x64"] = run(getattr(schedulers, cls)(**config), arguments, wide=True).float().contiguous()
    for name, scheduler, x, arguments in (*repaint(), *sde_ve()):
        keep(name, scheduler, scheduler.to_json_string(), x, arguments)
    for name, _, x, _ in sde_ve(wide=True):
        tensors[f"{name}/x64"] = x.float().contiguous()
    save_file(tensors, folder / "schedulers.safetensors", metadata={"cases": json.dumps(told)})
    print(len(told), "cases,", (folder / "schedulers.safetensors").stat().st_size, "bytes")


if __name__ == "__main__":
    with torch.inference_mode():
        main()
