//! Progress on stderr: a bar with rate and time left on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Seconds between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(15);

/// Progress of one job of known length.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    what: &'static str,
    total: u64,
    start: Instant,
    started_at: u64,
    last_line: Option<Instant>,
}

impl Progress {
    /// `total` units of `what` ("steps"), of which `done` are behind us already.
    pub(crate) fn new(what: &'static str, total: u64, done: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(5));
            let template = "{bar:30} {pos}/{len} {msg} {elapsed} < {eta}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_position(done);
            bar.reset_eta();
            bar
        });
        Self { bar, what, total, start: Instant::now(), started_at: done, last_line: None }
    }

    /// `done` units are behind us; `detail` says how it goes.
    pub(crate) fn set(&mut self, done: u64, detail: &str) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(format!("{} {detail}", self.what));
        } else if self.last_line.is_none_or(|t| t.elapsed() >= PLAIN_EVERY) || done == self.total {
            self.last_line = Some(Instant::now());
            let spent = self.start.elapsed().as_secs_f64();
            let rate = (done - self.started_at.min(done)) as f64 / spent.max(1e-9);
            let left = (self.total - done.min(self.total)) as f64 / rate.max(1e-9);
            let left = if rate > 0.0 { span(left) } else { "?".into() };
            errln!("{done}/{} {} {detail} {} spent, {left} left", self.total, self.what, span(spent));
        }
    }

    /// Prints a line without tearing the bar.
    pub(crate) fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| errln!("{text}")),
            None => errln!("{text}"),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Seconds for people: 42 s, 3 min 20 s, 2 h 5 min.
pub(crate) fn span(seconds: f64) -> String {
    let s = seconds.round().clamp(0.0, 1e12) as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        _ => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

/// Bytes for people, in binary units.
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..1024 => format!("{n} B"),
        1024..1_048_576 => format!("{:.1} KiB", n as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", n as f64 / 1_048_576.0),
        _ => format!("{:.2} GiB", n as f64 / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_bytes_read_well() {
        assert_eq!(
            (span(42.4).as_str(), span(200.0).as_str(), span(7500.0).as_str()),
            ("42 s", "3 min 20 s", "2 h 5 min")
        );
        assert_eq!((bytes(10).as_str(), bytes(2048).as_str(), bytes(3 << 20).as_str()), ("10 B", "2.0 KiB", "3.0 MiB"));
    }
}
