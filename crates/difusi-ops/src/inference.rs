//! Ops for networks that are not trained: convolutions with what follows them, whose weights are brought into the kernels' order once;
//! pooling. Results may be written into some channels of a wider image, so that branches need not be joined afterwards.
//!
//! On the plain CPU device they are kernels. Anywhere else, autodiff included, they are composed of burn's ops (so gradients flow
//! there). Deliberately absent: kernels of their gradients, bf16.

use std::sync::Arc;

use burn::{
    backend::Flex,
    tensor::{DType, Tensor, activation::relu},
};
use burn_flex::FlexTensor;

use crate::{
    ConvSpec, composed,
    kernel::{conv::Kept, pool::Pool},
    rules::inference::{self, Place},
};

/// What follows a convolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `max(0, x)`.
    Relu,
}

/// A convolution with its bias and activation, of fixed weights: see [`crate::conv2d`].
#[derive(Clone)]
pub struct FixedConv(Arc<Fixed>);

struct Fixed {
    weight: Tensor<4>,
    bias: Tensor<1>,
    spec: ConvSpec,
    activation: Activation,
    kept: Kept,
}

impl std::fmt::Debug for FixedConv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Fixed { weight, spec, activation, .. } = &*self.0;
        write!(f, "FixedConv({:?}, {spec:?}, {activation:?})", weight.dims())
    }
}

impl FixedConv {
    /// `weight` `[out, in, kh, kw]`, `bias` `[out]`, on one device.
    ///
    /// # Panics
    /// If the bias is not `[out]`.
    pub fn new(weight: Tensor<4>, bias: Tensor<1>, spec: ConvSpec, activation: Activation) -> Self {
        assert_eq!(weight.dims()[0], bias.dims()[0], "a bias for every channel");
        Self(Arc::new(Fixed { weight, bias, spec, activation, kept: Kept::default() }))
    }

    /// `[B, H, W, in]` to `[B, H', W', out]`: the result's shape.
    pub fn output(&self, [batch, height, width, _]: [usize; 4]) -> [usize; 4] {
        let [out, _, kh, kw] = self.0.weight.dims();
        let [height, width] = self.0.spec.output([height, width], [kh, kw]);
        [batch, height, width, out]
    }

    /// `x` `[B, H, W, in]` → `[B, H', W', out]`.
    ///
    /// # Panics
    /// On shapes that do not fit.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self.flex(&x) {
            Some(inputs) => self.run(inputs, None),
            None => self.composed(x),
        }
    }

    /// [`FixedConv::forward`] into the channels of `y` `[B, H', W', C]` from `first` on; the others stay as they are.
    ///
    /// # Panics
    /// On shapes that do not fit.
    pub fn forward_into(&self, x: Tensor<4>, y: Tensor<4>, first: usize) -> Tensor<4> {
        let place = Place { first, count: self.0.weight.dims()[0] };
        assert!(place.is_in(y.dims(), self.output(x.dims())), "{:?} has no place for {self:?}", y.dims());
        match (self.flex(&x), flex(&y)) {
            (Some(inputs), Some(to)) => {
                drop(y);
                self.run(inputs, Some((to, place)))
            }
            _ => assign(y, self.composed(x), place),
        }
    }

    fn run(&self, inputs: [FlexTensor; 3], into: Option<(FlexTensor, Place)>) -> Tensor<4> {
        let Fixed { spec, activation, kept, .. } = &*self.0;
        image(inference::conv2d(inputs, kept, (*spec, *activation), into))
    }

    fn flex(&self, x: &Tensor<4>) -> Option<[FlexTensor; 3]> {
        let Fixed { weight, bias, spec, .. } = &*self.0;
        let ([.., channels], [_, inside, kh, kw]) = (x.dims(), weight.dims());
        assert_eq!(channels, inside, "the image has {channels} channels, the kernel reads {inside}");
        // A border wider than the kernel goes the long way, as in `conv2d`.
        let wide = spec.padding[0] >= kh || spec.padding[1] >= kw;
        if wide { None } else { Some([flex(x)?, flex(weight)?, flex(bias)?]) }
    }

    fn composed(&self, x: Tensor<4>) -> Tensor<4> {
        let Fixed { weight, bias, spec, activation, .. } = &*self.0;
        let y = composed::conv2d(x, weight.clone(), Some(bias.clone()), *spec);
        match activation {
            Activation::None => y,
            Activation::Relu => relu(y),
        }
    }
}

/// Square windows over an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pooling {
    /// Height and width of a window.
    pub window: usize,
    /// How it moves; pixels of the border do not count.
    pub spec: ConvSpec,
}

impl Pooling {
    /// Windows of `window` pixels, `stride` apart, over an image with a border of `padding`, which is less than a window.
    pub const fn new(window: usize, stride: usize, padding: usize) -> Self {
        Self { window, spec: ConvSpec::new(stride, padding) }
    }

    /// `[B, H, W, C]` to `[B, H', W', C]`: the result's shape.
    pub const fn output(&self, [batch, height, width, channels]: [usize; 4]) -> [usize; 4] {
        let [height, width] = self.spec.output([height, width], [self.window; 2]);
        [batch, height, width, channels]
    }
}

/// The largest value of each window. `x` `[B, H, W, C]` → `[B, H', W', C]`; or, with `into`, into its channels from that one on.
///
/// # Panics
/// On shapes that do not fit; a border as wide as a window.
pub fn max_pool(x: Tensor<4>, pooling: Pooling, into: Option<(Tensor<4>, usize)>) -> Tensor<4> {
    pool(x, (Pool::Max, pooling), into)
}

/// The mean of each window's pixels, those of the border not counted. As [`max_pool`].
///
/// # Panics
/// On shapes that do not fit; a border as wide as a window.
pub fn mean_pool(x: Tensor<4>, pooling: Pooling, into: Option<(Tensor<4>, usize)>) -> Tensor<4> {
    pool(x, (Pool::Mean, pooling), into)
}

/// The mean of an image's pixels. `x` `[B, H, W, C]` → `[B, C]`.
pub fn mean_pixels(x: Tensor<4>) -> Tensor<2> {
    let [batch, height, width, channels] = x.dims();
    match flex(&x) {
        // One window.
        Some(x) => image(inference::pool(x, Pool::Mean, ([height, width], ConvSpec::new(1, 0)), None))
            .reshape([batch, channels]),
        None => composed::mean_pixels(x),
    }
}

fn pool(x: Tensor<4>, (kind, pooling): (Pool, Pooling), into: Option<(Tensor<4>, usize)>) -> Tensor<4> {
    let Pooling { window, spec } = pooling;
    assert!(spec.padding.iter().all(|&p| p < window), "a border as wide as a window: {pooling:?}");
    let (y, channels) = (pooling.output(x.dims()), x.dims()[3]);
    let Some((to, first)) = into else {
        return match flex(&x) {
            Some(x) => image(inference::pool(x, kind, ([window; 2], spec), None)),
            None => composed_pool(x, kind, pooling),
        };
    };
    let place = Place { first, count: channels };
    assert!(place.is_in(to.dims(), y), "{:?} has no place for {y:?} from channel {first} on", to.dims());
    match (flex(&x), flex(&to)) {
        (Some(x), Some(y)) => {
            drop(to);
            image(inference::pool(x, kind, ([window; 2], spec), Some((y, place))))
        }
        _ => assign(to, composed_pool(x, kind, pooling), place),
    }
}

fn composed_pool(x: Tensor<4>, kind: Pool, pooling: Pooling) -> Tensor<4> {
    match kind {
        Pool::Max => composed::max_pool(x, pooling),
        Pool::Mean => composed::mean_pool(x, pooling),
    }
}

/// `y` with `part` in its channels.
fn assign(y: Tensor<4>, part: Tensor<4>, place: Place) -> Tensor<4> {
    let [batch, height, width, _] = y.dims();
    y.slice_assign([0..batch, 0..height, 0..width, place.first..place.first + place.count], part)
}

/// What the kernels read: f32 on the plain CPU device.
fn flex<const D: usize>(x: &Tensor<D>) -> Option<FlexTensor> {
    if x.dtype() != DType::F32 {
        return None;
    }
    x.clone().try_into_primitive::<Flex>().ok()
}

fn image(x: FlexTensor) -> Tensor<4> {
    Tensor::from_primitive::<Flex>(x)
}
