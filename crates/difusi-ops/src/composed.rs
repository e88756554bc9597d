//! Every op composed of burn's own: what runs on devices without our kernels, and what the tests hold the kernels against.
//!
//! Same arguments and shapes as the functions of the same name at the crate's root. What computes does so in f32 where its image is
//! bf16, and rounds its result; what only moves values takes any number.

use burn::tensor::{
    DType, FloatDType, Tensor,
    activation::{self, silu, softmax},
    module,
    ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions},
};

use crate::{AttentionKind, ConvSpec, Groups, Pooling};

/// The tensor as it is computed with.
fn wide<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if x.dtype() == DType::BF16 { x.cast(FloatDType::F32) } else { x }
}

/// `op` of the image computed in f32, in the image's own number.
fn widened<const D: usize, const N: usize>(x: Tensor<D>, op: impl FnOnce(Tensor<D>) -> Tensor<N>) -> Tensor<N> {
    let narrow = x.dtype() == DType::BF16;
    let y = op(wide(x));
    if narrow { y.cast(FloatDType::BF16) } else { y }
}

/// See [`crate::conv2d`].
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, spec: ConvSpec) -> Tensor<4> {
    let options = ConvOptions::new([spec.stride; 2], spec.padding, [1, 1], 1);
    widened(x, |x| {
        let x = x.permute([0, 3, 1, 2]);
        module::conv2d(x, wide(weight), bias.map(wide), options).permute([0, 2, 3, 1])
    })
}

/// See [`crate::linear`].
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let mut dims = x.dims();
    let [out, inside] = weight.dims();
    let rows = dims.iter().product::<usize>() / inside;
    dims[D - 1] = out;
    widened(x, |x| {
        let y = x.reshape([rows, inside]).matmul(wide(weight).transpose());
        match bias {
            Some(bias) => y + wide(bias).reshape([1, out]),
            None => y,
        }
        .reshape(dims)
    })
}

/// See [`crate::rms_norm`].
pub fn rms_norm<const D: usize>(x: Tensor<D>, gain: Tensor<1>) -> Tensor<D> {
    let [channels] = gain.dims();
    let mut last = [1; D];
    last[D - 1] = channels;
    widened(x, |x| {
        let length = x.clone().square().sum_dim(D - 1).sqrt().clamp_min(1e-12); // [.., 1]
        x / length * (wide(gain) * (channels as f64).sqrt()).reshape(last)
    })
}

/// See [`crate::rms_norm_silu`].
pub fn rms_norm_silu(
    x: Tensor<4>,
    gain: Tensor<1>,
    scale_shift: Option<(Tensor<2>, Tensor<2>)>,
    residual: Option<Tensor<4>>,
) -> Tensor<4> {
    widened(x, |x| {
        let y = silu(modulated(rms_norm(x, gain), scale_shift));
        match residual {
            Some(residual) => y + wide(residual),
            None => y,
        }
    })
}

fn modulated(x: Tensor<4>, scale_shift: Option<(Tensor<2>, Tensor<2>)>) -> Tensor<4> {
    let [_, _, _, channels] = x.dims();
    match scale_shift {
        Some((scale, shift)) => {
            let [images, _] = scale.dims();
            let [scale, shift] = [scale, shift].map(|v| wide(v).reshape([images, 1, 1, channels]));
            x * (scale + 1.0) + shift
        }
        None => x,
    }
}

/// See [`crate::group_norm`].
pub fn group_norm<const D: usize>(x: Tensor<D>, groups: Groups, (gain, bias): (Tensor<1>, Tensor<1>)) -> Tensor<D> {
    let (dims, [channels]) = (x.dims(), gain.dims());
    let pixels = dims[1..D - 1].iter().product::<usize>();
    let mut last = [1; D];
    last[D - 1] = channels;
    widened(x, |x| {
        let x = x.reshape([dims[0], pixels, groups.count, channels / groups.count]);
        let x = x.clone() - x.mean_dim(1).mean_dim(3); // [B, pixels, groups, C / groups]
        let variance = x.clone().square().mean_dim(1).mean_dim(3);
        let x = (x / (variance + groups.epsilon).sqrt()).reshape(dims);
        x * wide(gain).reshape(last) + wide(bias).reshape(last)
    })
}

/// See [`crate::group_norm_silu`].
pub fn group_norm_silu(
    x: Tensor<4>,
    groups: Groups,
    affine: (Tensor<1>, Tensor<1>),
    scale_shift: Option<(Tensor<2>, Tensor<2>)>,
) -> Tensor<4> {
    widened(x, |x| silu(modulated(group_norm(x, groups, affine), scale_shift)))
}

/// See [`crate::self_attention`].
pub fn self_attention(qkv: Tensor<3>, memory: Option<Tensor<4>>, heads: usize, kind: AttentionKind) -> Tensor<3> {
    let [batch, tokens, channels] = qkv.dims();
    let (hidden, depth) = (channels / 3, channels / (3 * heads));
    widened(qkv, |qkv| {
        let [q, k, v] = [0, 1, 2].map(|part| {
            let part = qkv.clone().narrow(2, part * hidden, hidden);
            part.reshape([batch, tokens, heads, depth]).swap_dims(1, 2)
        });
        let (k, v) = match memory.map(wide) {
            Some(memory) => {
                let [_, _, remembered, _] = memory.dims();
                let join = |part: usize, x: Tensor<4>| {
                    let own = memory.clone().narrow(0, part, 1).expand([batch, heads, remembered, depth]);
                    Tensor::cat(vec![own, x], 2)
                };
                (join(0, k), join(1, v))
            }
            None => (k, v),
        };
        attention(q, k, v, kind).swap_dims(1, 2).reshape([batch, tokens, hidden])
    })
}

/// See [`crate::attention`].
pub fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, kind: AttentionKind) -> Tensor<4> {
    let [_, _, _, depth] = q.dims();
    let scale = (depth as f64).powf(-0.5);
    widened(q, |q| {
        let (k, v) = (wide(k), wide(v));
        match kind {
            AttentionKind::Full => softmax(q.matmul(k.swap_dims(2, 3)) * scale, 3).matmul(v), // scores [B, H, N, M]
            AttentionKind::Linear => {
                let context = softmax(k, 2).swap_dims(2, 3).matmul(v); // [B, H, D, D]
                (softmax(q, 3) * scale).matmul(context)
            }
        }
    })
}

/// See [`crate::upsample_nearest2`].
pub fn upsample_nearest2(x: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    x.reshape([batch, height, 1, width, 1, channels]).repeat_dim(2, 2).repeat_dim(4, 2).reshape([
        batch,
        2 * height,
        2 * width,
        channels,
    ])
}

/// See [`crate::downsample_mean2`].
pub fn downsample_mean2(x: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    let half = [batch, height / 2, width / 2, channels];
    widened(x, |x| x.reshape([batch, height / 2, 2, width / 2, 2, channels]).mean_dim(2).mean_dim(4).reshape(half))
}

/// See [`crate::add_to_pixels`].
pub fn add_to_pixels(x: Tensor<4>, rows: Tensor<2>) -> Tensor<4> {
    let [batch, channels] = rows.dims();
    widened(x, |x| x + wide(rows).reshape([batch, 1, 1, channels]))
}

/// See [`crate::pixel_unshuffle2`].
pub fn pixel_unshuffle2(x: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    x.reshape([batch, height / 2, 2, width / 2, 2, channels]) // b h p1 w p2 c
        .permute([0, 1, 3, 5, 2, 4]) // b h w c p1 p2
        .reshape([batch, height / 2, width / 2, 4 * channels])
}

/// See [`crate::max_pool`].
pub fn max_pool(x: Tensor<4>, Pooling { window, spec }: Pooling) -> Tensor<4> {
    let x = x.permute([0, 3, 1, 2]);
    let options = MaxPoolOptions {
        kernel_size: [window; 2],
        stride: [spec.stride; 2],
        padding: spec.padding.map(|p| (p, p)),
        dilation: [1, 1],
        ceil_mode: false,
    };
    module::max_pool2d(x, options).permute([0, 2, 3, 1])
}

/// See [`crate::mean_pool`].
pub fn mean_pool(x: Tensor<4>, Pooling { window, spec }: Pooling) -> Tensor<4> {
    let x = x.permute([0, 3, 1, 2]);
    let options = AvgPoolOptions {
        kernel_size: [window; 2],
        stride: [spec.stride; 2],
        padding: spec.padding.map(|p| (p, p)),
        count_include_pad: false,
        ceil_mode: false,
    };
    module::avg_pool2d(x, options).permute([0, 2, 3, 1])
}

/// See [`crate::mean_pixels`].
pub fn mean_pixels(x: Tensor<4>) -> Tensor<2> {
    let [batch, height, width, channels] = x.dims();
    x.reshape([batch, height * width, channels]).mean_dim(1).reshape([batch, channels])
}

/// See [`crate::row_sums`].
pub fn row_sums(x: Tensor<2>) -> Tensor<1> {
    x.sum_dim(1).squeeze_dim(1)
}

/// See [`crate::leaky_relu`].
pub fn leaky_relu<const D: usize>(x: Tensor<D>, slope: f64) -> Tensor<D> {
    widened(x, |x| activation::leaky_relu(x, slope))
}
