//! A scene as SVG text.

use std::fmt::Write;

use super::scene::{Anchor, Pen, Rect, Scene, Shape, Text};
use crate::picture::png_bytes;

/// Readers have one of these.
const FAMILY: &str = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif";

pub(super) fn text(scene: &Scene) -> String {
    let mut clips: Vec<Rect> = Vec::new();
    let mut body = String::new();
    for shape in &scene.shapes {
        // Writing to a String cannot fail.
        let _ = write_shape(&mut body, shape, &mut clips);
    }
    let (w, h) = (scene.width, scene.height);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" \
         font-family=\"{FAMILY}\">\n<rect width=\"{w}\" height=\"{h}\" fill=\"#fff\"/>\n"
    );
    for (i, Rect { x, y, w, h }) in clips.iter().enumerate() {
        let _ = writeln!(
            out,
            "<clipPath id=\"c{i}\"><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\"/></clipPath>"
        );
    }
    out.push_str(&body);
    out.push_str("</svg>\n");
    out
}

fn write_shape(out: &mut String, shape: &Shape, clips: &mut Vec<Rect>) -> std::fmt::Result {
    match shape {
        Shape::Line { points, pen, clip } => {
            let list: Vec<String> = points.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
            let Pen { colour, width, opacity, dash } = pen;
            write!(out, "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\"", hex(*colour))?;
            write!(out, " stroke-linejoin=\"round\" clip-path=\"url(#c{})\"", place(clips, *clip))?;
            if *opacity < 1.0 {
                write!(out, " stroke-opacity=\"{opacity}\"")?;
            }
            if let Some([on, off]) = dash {
                write!(out, " stroke-dasharray=\"{on} {off}\"")?;
            }
            writeln!(out, " points=\"{}\"/>", list.join(" "))
        }
        Shape::Dots { centres, radius, colour, opacity, clip } => {
            let (fill, clip) = (hex(*colour), place(clips, *clip));
            writeln!(out, "<g fill=\"{fill}\" fill-opacity=\"{opacity}\" clip-path=\"url(#c{clip})\">")?;
            for [x, y] in centres {
                writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"/>")?;
            }
            writeln!(out, "</g>")
        }
        Shape::Polygon { points, colour, opacity, clip } => {
            let list: Vec<String> = points.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
            let (fill, clip) = (hex(*colour), place(clips, *clip));
            write!(out, "<polygon fill=\"{fill}\" fill-opacity=\"{opacity}\" fill-rule=\"evenodd\"")?;
            writeln!(out, " clip-path=\"url(#c{clip})\" points=\"{}\"/>", list.join(" "))
        }
        Shape::Image { rect: Rect { x, y, w, h }, picture, clip } => {
            let clip = place(clips, *clip);
            write!(
                out,
                "<image x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" clip-path=\"url(#c{clip})\""
            )?;
            let data = base64(&png_bytes(picture).unwrap_or_default());
            writeln!(out, " preserveAspectRatio=\"none\" href=\"data:image/png;base64,{data}\"/>")
        }
        Shape::Fill { rect: Rect { x, y, w, h }, colour, opacity } => {
            write!(out, "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" ")?;
            writeln!(out, "fill=\"{}\" fill-opacity=\"{opacity}\"/>", hex(*colour))
        }
        Shape::Text(text) => write_text(out, text),
    }
}

fn write_text(out: &mut String, text: &Text) -> std::fmt::Result {
    let [x, y] = text.at;
    let anchor = match text.anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    write!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{}\" fill=\"{}\"", text.size, hex(text.colour))?;
    if text.upwards {
        write!(out, " transform=\"rotate(-90 {x:.1} {y:.1})\"")?;
    }
    writeln!(out, " text-anchor=\"{anchor}\">{}</text>", escape(&text.text))
}

fn place(clips: &mut Vec<Rect>, clip: Rect) -> usize {
    clips.iter().position(|c| *c == clip).unwrap_or_else(|| {
        clips.push(clip);
        clips.len() - 1
    })
}

fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let word = (0..3).fold(0, |word, i| word << 8 | u32::from(three.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            let sign = SIGNS[(word >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= three.len() { char::from(sign) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    /// The examples of RFC 4648, section 10.
    #[test]
    fn base64_known_answers() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(super::base64(plain.as_bytes()), coded);
        }
    }
}
