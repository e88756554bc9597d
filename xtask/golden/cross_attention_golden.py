"""Golden values of cross-attention, for crates/difusi-nn/tests/it/tokens.rs.

    pip install diffusers==0.42.1 safetensors torch                   # made with torch 2.15 on a CPU
    OMP_NUM_THREADS=1 python xtask/golden/cross_attention_golden.py   # from the repository's root

Writes crates/difusi-nn/tests/golden/cross_attention.safetensors: pictures `x` [B, C, H, W], `tokens` [B, L, D], `mask` [B, L] (1 is seen) and what
diffusers' `Attention` makes of them, `y`; and `none`, what it makes of x where every token is hidden. The learned token stands before the
others: its key and value take the place of what the maps give there. Weights come from the formula of adm_golden.py.
"""

import torch
from diffusers.models.attention_processor import Attention
from safetensors.torch import save_file

from adm_golden import formula

B, C, H, W, L, D, HEADS, GROUPS = 3, 16, 4, 6, 5, 12, 4, 4


class Learned(torch.nn.Module):
    """A map whose first result is a learned one."""

    def __init__(self, linear, row):
        super().__init__()
        self.linear, self.row = linear, row

    def forward(self, x):
        y = self.linear(x)
        return torch.cat([self.row.expand(len(y), 1, -1), y[:, 1:]], 1)


def weight(name, shape):
    return formula(name, tuple(shape))


def layer():
    attention = Attention(query_dim=C, cross_attention_dim=D, heads=HEADS, dim_head=C // HEADS, bias=True, norm_num_groups=GROUPS,
                          cross_attention_norm="layer_norm", residual_connection=True, eps=1e-5)
    ours = {name: name.replace("norm_cross", "token_norm") for name in attention.state_dict()}
    shapes = {name: list(t.shape) for name, t in attention.state_dict().items()}
    attention.load_state_dict({name: weight(ours[name], shapes[name]) for name in ours})
    null = weight("null_kv", [2, C])
    attention.to_k, attention.to_v = Learned(attention.to_k, null[0]), Learned(attention.to_v, null[1])
    return attention.eval()


def main():
    torch.manual_seed(0)
    x, tokens = torch.randn(B, C, H, W), torch.randn(B, L, D)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.float32)
    padded = torch.cat([torch.ones(B, 1, D), tokens], 1)
    attention = layer()

    def attend(mask):
        seen = torch.cat([torch.ones(B, 1), mask], 1)
        bias = (1 - seen)[:, None] * -1e9  # [B, 1, L + 1]
        with torch.no_grad():
            return attention(x, encoder_hidden_states=padded, attention_mask=bias)

    out = dict(x=x, tokens=tokens, mask=mask, y=attend(mask), none=attend(torch.zeros_like(mask)))
    save_file({k: v.contiguous() for k, v in out.items()}, "crates/difusi-nn/tests/golden/cross_attention.safetensors")


if __name__ == "__main__":
    main()
