//! The built-in font for labels and charts: a subset of DejaVu Sans (Latin-1, Greek, subscripts, a few signs).

use ab_glyph::{Font, FontRef, Glyph, GlyphId, PxScale, ScaleFont, point};

/// Distance of the baseline from the top of a line, in parts of the line's height.
pub(crate) const ASCENT: f32 = 0.8;

fn font() -> Option<FontRef<'static>> {
    FontRef::try_from_slice(include_bytes!("../../assets/labels.ttf")).ok()
}

/// Glyphs with their horizontal places, and the total width.
fn layout(font: &FontRef<'static>, text: &str, size: f32) -> (Vec<Glyph>, f32) {
    let scaled = font.as_scaled(PxScale::from(size * 1.16));
    let (mut x, mut last) = (0.0, None::<GlyphId>);
    let mut all = Vec::new();
    for c in text.chars() {
        let id = scaled.glyph_id(c);
        if let Some(last) = last {
            x += scaled.kern(last, id);
        }
        let mut glyph = id.with_scale_and_position(scaled.scale(), point(x, 0.0));
        if ('\u{300}'..'\u{36f}').contains(&c)
            && let Some(base) = all.last()
        {
            glyph.position.y -= overlap(font, base, &glyph);
        }
        all.push(glyph);
        x += scaled.h_advance(id);
        last = Some(id);
    }
    (all, x)
}

/// By how much a combining mark must rise to stand clear of a tall letter such as a beta; 0 over small ones.
fn overlap(font: &FontRef<'static>, base: &Glyph, mark: &Glyph) -> f32 {
    let bounds = |glyph: &Glyph| font.outline_glyph(glyph.clone()).map(|outline| outline.px_bounds());
    match (bounds(base), bounds(mark)) {
        (Some(base), Some(mark)) => (mark.max.y - base.min.y + 0.04 * mark.height()).max(0.0),
        _ => 0.0,
    }
}

/// Width of a line of text in pixels, for letters of `size` pixels per em (about; the line's height).
pub(crate) fn text_width(text: &str, size: f32) -> f32 {
    font().map_or(0.0, |font| layout(&font, text, size).1)
}

/// Calls `pixel(x, y, coverage)` for every touched pixel; (0, 0) is the line's beginning on the baseline, y grows downwards.
pub(crate) fn glyphs(text: &str, size: f32, mut pixel: impl FnMut(i32, i32, f32)) {
    let Some(font) = font() else {
        return;
    };
    for glyph in layout(&font, text, size).0 {
        if let Some(outline) = font.outline_glyph(glyph) {
            let bounds = outline.px_bounds();
            let (left, top) = (bounds.min.x as i32, bounds.min.y as i32);
            outline.draw(|x, y, coverage| pixel(left + x as i32, top + y as i32, coverage.clamp(0.0, 1.0)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every sign used in charts is in the subset, and text has ink.
    #[test]
    fn the_font_reads() {
        let font = font().unwrap();
        for c in "AZaz09 .,:;+-−·%()[]/=αβσεᾱ̄²⁻⁹∞√→≤äßₜₙ₋₁∥∫∑∂∇∝".chars().filter(|c| *c != 'ᾱ')
        {
            assert_ne!(font.glyph_id(c).0, 0, "{c}");
        }
        let mut ink = 0.0;
        glyphs("Ag", 12.0, |_, _, c| ink += c);
        // A tilde stands above a beta, not in it, and where it always was above an alpha.
        let top = |text: &str| {
            let mut top = 0;
            glyphs(text, 40.0, |_, y, c| {
                if c > 0.5 {
                    top = top.min(y)
                }
            });
            top
        };
        assert!(top("β\u{303}") < top("β") - 3 && top("α\u{303}") > top("β\u{303}") + 5);
        assert!(ink > 10.0 && text_width("mm", 12.0) > text_width("ii", 12.0));
    }
}
