//! The tables that denoising-diffusion-pytorch's `GaussianDiffusion` keeps beside its weights (version 2.3.4), so that a file
//! written here has everything its `load_state_dict` asks for.

use crate::{ProcessError, peer::GaussianDiffusion};

/// A buffer: its name, and one number per step.
pub type Buffer = (&'static str, Vec<f64>);

impl GaussianDiffusion {
    /// The 13 buffers in the peer's order, `[T]` each, in f64 (the peer stores them as f32).
    ///
    /// # Errors
    /// Arguments that [`GaussianDiffusion::check`] does not accept.
    pub fn buffers(&self) -> Result<Vec<Buffer>, ProcessError> {
        crate::error::all_good(self.check())?;
        let ours = self.diffusion().value;
        let diffusion = ours.build()?;
        let tables = ours.schedule.tables(self.timesteps)?;
        let map = |f: &dyn Fn(f64) -> f64| tables.alpha_bars.iter().map(|a| f(*a)).collect::<Vec<_>>();
        let levels = tables.levels(&(0..self.timesteps).collect::<Vec<_>>())?;
        let weights = levels.into_iter().map(|level| diffusion.weight(level)).collect();
        Ok(vec![
            ("betas", tables.betas.clone()),
            ("alphas_cumprod", tables.alpha_bars.clone()),
            ("alphas_cumprod_prev", tables.alpha_bars_prev.clone()),
            ("sqrt_alphas_cumprod", map(&f64::sqrt)),
            ("sqrt_one_minus_alphas_cumprod", map(&|a| (1.0 - a).sqrt())),
            ("log_one_minus_alphas_cumprod", map(&|a| (1.0 - a).ln())),
            ("sqrt_recip_alphas_cumprod", map(&|a| (1.0 / a).sqrt())),
            ("sqrt_recipm1_alphas_cumprod", map(&|a| (1.0 / a - 1.0).sqrt())),
            ("posterior_variance", tables.posterior_variance.clone()),
            ("posterior_log_variance_clipped", tables.posterior_log_variance.clone()),
            ("posterior_mean_coef1", tables.posterior_mean_x0.clone()),
            ("posterior_mean_coef2", tables.posterior_mean_xt.clone()),
            ("loss_weight", weights),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signal and noise add up at every step, and epsilon's weight is 1.
    #[test]
    fn buffers_agree_with_each_other() {
        let peer = GaussianDiffusion { objective: crate::peer::Objective::PredNoise, ..Default::default() };
        let all = peer.buffers().unwrap();
        let get = |name: &str| all.iter().find(|b| b.0 == name).map(|b| &b.1).unwrap();
        let (signal, noise) = (get("sqrt_alphas_cumprod"), get("sqrt_one_minus_alphas_cumprod"));
        assert!(signal.iter().zip(noise).all(|(a, s)| (a * a + s * s - 1.0).abs() < 1e-12));
        assert!(get("loss_weight").iter().all(|w| (w - 1.0).abs() < 1e-12));
        assert!(all.len() == 13 && all.iter().all(|b| b.1.len() == 1000));
    }
}
