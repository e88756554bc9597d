//! What a configuration comes to: shapes through the network, parameters, and memory, without building it.
//!
//! The memory figures count arrays, not allocations: an estimate for choosing a batch size.

use difusi_core::ImageSize;

use crate::params::ParamInfo;

/// One layer of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerShape {
    /// Its name, which its parameters' names start with.
    pub name: String,
    /// Shape of its output for one image: `[H, W, C]`, or `[C]` for the time.
    pub output: Vec<usize>,
    /// Number of parameters.
    pub parameters: usize,
    /// Values kept for the backward pass, for one image.
    pub kept: usize,
    /// Floating-point operations for one image: see [`Cost::forward_flops`].
    pub flops: u64,
}

/// What one image costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Number of parameters of the network.
    pub parameters: usize,
    /// Bytes of activations per image that training keeps until the backward pass, in f32.
    pub training_bytes: usize,
    /// Bytes of activations per image alive at once when sampling, in f32.
    pub sampling_bytes: usize,
    /// Floating-point operations of one forward pass over one image, a multiply and an add being two: those of convolutions,
    /// linear layers and attention by definition, whatever the kernels do. A backward pass has about twice as many.
    pub forward_flops: u64,
}

/// Where the walk through the network stands.
pub(super) struct Walk {
    pub(super) parameters: Vec<ParamInfo>,
    pub(super) size: ImageSize,
    pub(super) layers: Vec<LayerShape>,
}

impl Walk {
    fn inside<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a ParamInfo> {
        let inside = move |p: &&ParamInfo| p.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        self.parameters.iter().filter(inside)
    }

    pub(super) fn count(&self, name: &str) -> usize {
        self.inside(name).map(ParamInfo::count).sum()
    }

    /// Operations of a layer's matrix products: each weight of a convolution once per pixel, of a linear layer once.
    pub(super) fn products(&self, name: &str) -> u64 {
        let one = |p: &ParamInfo| match p.shape.len() {
            4 if p.name.ends_with(".weight") => 2 * (p.count() * self.size.pixels()) as u64,
            2 => 2 * p.count() as u64,
            _ => 0,
        };
        self.inside(name).map(one).sum()
    }

    /// `kept` values per pixel, and `more` of them.
    pub(super) fn push(&mut self, name: &str, channels: usize, kept: usize, more: usize) {
        let ImageSize { height, width } = self.size;
        let (parameters, pixels) = (self.count(name), self.size.pixels());
        let output = vec![height, width, channels];
        let (kept, flops) = (kept * pixels + more, self.products(name));
        self.layers.push(LayerShape { name: name.to_owned(), output, parameters, kept, flops });
    }

    /// A convolution keeps its input, which its predecessor counted; its output is counted here.
    pub(super) fn plain(&mut self, name: &str, channels: usize) {
        self.push(name, channels, channels, 0);
    }
}
