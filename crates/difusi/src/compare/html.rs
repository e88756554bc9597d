//! The report as one HTML file: pictures and charts are in it, nothing is fetched, nothing runs.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use difusi_store::read_bytes;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::report::{COSTS, HEADS, Report, Shown, rough, spectra, told};
use super::{Family, Measured};
use crate::Error;

const STYLE: &str = "
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1340px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2.2em; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: .3em .55em; text-align: right; white-space: nowrap; } th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #222; } tbody tr:nth-child(odd) { background: #f6f6f6; }
.row { display: flex; flex-wrap: wrap; gap: 1.2em; } figure { margin: 0; } figcaption { font-size: 13px; color: #555; }
img { image-rendering: pixelated; max-width: 100%; } .grid img { width: 272px; }
.wide { overflow-x: auto; } p.note { color: #555; font-size: 14px; } code { background: #f2f2f2; padding: 0 .25em; }
";

/// The whole page; `data` is the grid of test images.
pub(super) fn page(report: &Report, shown: &[Shown<'_>], data: &Path) -> Result<String, Error> {
    let first = || shown.iter().filter(|s| s.member.repeat == 0);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Four families on " (report.data.display()) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Diffusion, VAE, GAN and flow on " (report.data.display()) }
                (setting(report))
                h2 { "How good the pictures are" }
                (table(&HEADS, report.rows().iter().map(<[String; 11]>::as_slice)))
                (legend(report))
                h2 { "What it took" }
                (table(&COSTS, report.costs().iter().map(<[String; 8]>::as_slice)))
                p.note { "The reference experiment's hardware and networks are unknown; its milliseconds are told for orientation alone. "
                    "A step is timed on the untrained network before anything is trained; minutes are those of all steps as they were made." }
                h2 { "What they draw" }
                div.row {
                    @if data.exists() { (grid(data, "test images")?) }
                    @for s in first() { (drawn(s)?) }
                }
                h2 { "On the way" }
                @for s in first() { (way(s)?) }
                h2 { "Loss" }
                div.row { @for s in first() { (curves(s)) } }
                h2 { "Fine detail" }
                p { "Power of the pictures by spatial frequency. What lies below the data's line is blurred, what lies above it is noise." }
                (PreEscaped(spectra(report.real.as_ref(), shown)))
                h2 { "Is it remembering?" }
                p { "Drawn pictures above the training image that is nearest to each, in Euclidean distance of bytes. The table's column "
                    "“nearest” is the median of that distance; copies of training images would be far below that of test images." }
                @for s in first() { (nearest(s)?) }
                (latents(shown))
                (luck(report, shown)?)
                (notes(report))
            }
        }
    };
    Ok(page.into_string())
}

fn setting(report: &Report) -> Markup {
    let real = report.real.as_ref();
    html! {
        p {
            "Budget " code { (report.budget) } " for each family, seed " (report.seed) ", " (report.threads) " threads"
            @if let Some(processor) = &report.processor { " of " (processor) } ". "
            @if let Some(real) = real {
                "Judged through " (real.judge) " (" (real.features) " features"
                @if let Some(accuracy) = real.accuracy { ", right on " (told(accuracy)) " of the test images" }
                ") against " (real.reference) " training images; it was trained on no drawn picture and no test image."
            }
        }
        p { code { (report.command) } }
    }
}

fn table<'a>(heads: &[&str], rows: impl Iterator<Item = &'a [String]>) -> Markup {
    html! {
        div.wide { table {
            thead { tr { @for head in heads { th { (head) } } } }
            tbody { @for row in rows { tr { @for cell in row { td { (cell) } } } } }
        } }
    }
}

fn legend(report: &Report) -> Markup {
    let methods = report.members.iter().filter_map(|(name, m)| Some((name, m.bits.as_ref()?)));
    html! {
        p.note {
            "± is one standard error: of FID over pictures drawn anew with replacement, of KID over disjoint blocks, of the Inception Score "
            "over its 10 splits, of precision and recall that of a share. Precision is the share of drawn pictures among the data, recall that of the data "
            "among the drawn (k = 3). Fine detail is the share of variance above 1/4 cycle per pixel. Diversity is the mean distance of two "
            "pictures' features."
        }
        p.note {
            "Bits per dimension: "
            @for (name, bits) in methods { (name) ", " (bits.method) " of " (bits.images) " test images; " }
            "a GAN has no likelihood. Pictures: "
            @for (name, m) in &report.members { (name) ", " (m.quality.pictures) " by " (m.drawn_by) "; " }
            "seconds per picture are those of drawing them in batches."
        }
    }
}

fn grid(path: &Path, caption: &str) -> Result<Markup, Error> {
    Ok(html! { figure.grid { (picture(path)?) figcaption { (caption) } } })
}

fn drawn(s: &Shown<'_>) -> Result<Markup, Error> {
    match s.grids.last() {
        Some((_, path)) => grid(path, s.member.family.title()),
        None => Ok(html! {}),
    }
}

fn way(s: &Shown<'_>) -> Result<Markup, Error> {
    Ok(html! {
        h3 { (s.member.family.title()) }
        div.row { @for (step, path) in &s.grids { (grid(path, &format!("after {step} steps"))?) } }
    })
}

fn curves(s: &Shown<'_>) -> Markup {
    let unit = match s.member.family {
        Family::Diffusion => "the training loss",
        Family::Vae => "what the loss is made of",
        Family::Gan => "both losses",
        Family::Flow => "bits per dimension",
    };
    html! { figure { (PreEscaped(&s.curves)) figcaption { (s.member.family.title()) ", " (unit) } } }
}

fn nearest(s: &Shown<'_>) -> Result<Markup, Error> {
    Ok(html! {
        @if s.nearest.exists() {
            figure { (picture(&s.nearest)?) figcaption { (s.member.family.title()) ", median distance " (rough(s.measured.quality.nearest)) } }
        }
    })
}

/// What a VAE's latent says.
fn latents(shown: &[Shown<'_>]) -> Markup {
    let vae = shown.iter().find(|s| s.member.family == Family::Vae).and_then(|s| s.measured.bits.as_ref());
    html! {
        @if let Some(bits) = vae {
            h2 { "What the VAE's latent says" }
            p {
                @let active = bits.kl.iter().filter(|kl| **kl > 0.01).count();
                (active) " of " (bits.kl.len()) " dimensions say more than 0.01 nats about an image"
                @if active == 0 { ": the posterior has collapsed to the prior" } ". "
                @if let Some(importance) = bits.importance {
                    "The bound is " (told(bits.bits)) " bits per dimension, with 50 importance-weighted latents for each image " (told(importance)) "."
                }
            }
        }
    }
}

/// A number of what was measured.
type OfMember = fn(&Measured) -> f64;

/// How much the GAN's seed decides.
fn luck(report: &Report, shown: &[Shown<'_>]) -> Result<Markup, Error> {
    let figures: [(&str, OfMember); 3] = [
        ("FID", |m| m.quality.fid.value),
        ("precision", |m| m.quality.precision.value),
        ("recall", |m| m.quality.recall.value),
    ];
    let spreads: Vec<_> = figures.iter().filter_map(|(name, f)| Some((name, report.spread(f)?))).collect();
    let gans: Vec<_> = shown.iter().filter(|s| s.member.family == Family::Gan).collect();
    Ok(html! {
        @if !spreads.is_empty() {
            h2 { "How much of the GAN is luck" }
            p {
                (gans.len()) " runs that differ in nothing but their seed: "
                @for (name, [mean, deviation, low, high]) in &spreads {
                    (name) " " (rough(*mean)) ", deviation " (rough(*deviation)) " (" (rough(*low)) " to " (rough(*high)) "); "
                }
            }
            div.row { @for (i, s) in gans.iter().enumerate() {
                @if let Some((_, path)) = s.grids.last() {
                    (grid(path, &format!("run {}, FID {}", i + 1, told(s.measured.quality.fid)))?)
                }
            } }
        }
    })
}

fn notes(report: &Report) -> Markup {
    let mut notes: Vec<&String> = report.real.iter().flat_map(|r| &r.notes).collect();
    notes.extend(report.members.iter().flat_map(|(_, m)| &m.notes));
    notes.sort();
    notes.dedup();
    html! { @if !notes.is_empty() { h2 { "Notes" } ul { @for note in notes { li { (note) } } } } }
}

/// A PNG in the page itself.
fn picture(path: &Path) -> Result<Markup, Error> {
    let data = format!("data:image/png;base64,{}", STANDARD.encode(read_bytes(path)?));
    Ok(html! { img src=(data) alt=""; })
}
