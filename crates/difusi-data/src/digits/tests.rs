//! Identities of drawn digits, and (ignored) a sheet of them to look at.

use super::*;

fn digits(size: [usize; 2], seed: u64) -> Digits {
    Digits::new(&DigitsConfig { size: size.into(), count: None, seed })
}

/// (seed, index) decides every bit; another seed or index gives another picture.
#[test]
fn deterministic() {
    let d = digits([28, 28], 7);
    assert_eq!(d.draw(12345), d.clone().draw(12345));
    assert_ne!(d.draw(0).0, d.draw(10).0);
    assert_ne!(d.draw(0).0, digits([28, 28], 8).draw(0).0);
}

/// Every ten images in a row hold every class once, wherever one begins.
#[test]
fn labels_are_balanced() {
    let d = digits([8, 8], 0);
    for start in [0, 7, 1 << 40] {
        let mut labels: Vec<u32> = (start..start + 10).map(|i| d.draw(i).1).collect();
        labels.sort_unstable();
        assert_eq!(labels, (0..10).collect::<Vec<_>>());
    }
}

/// Black border, white strokes, within range, at every size; the share of ink is that of MNIST (mean 0.13) at 28x28.
#[test]
fn looks_like_ink() {
    for size in [[8, 8], [28, 28], [32, 48], [64, 64], [97, 51]] {
        let d = digits(size, 1);
        let mut total = 0.0;
        for i in 0..100 {
            let (p, _) = d.draw(i);
            assert_eq!(p.len(), size[0] * size[1]);
            assert!(p.iter().all(|v| (-1.0..=1.0).contains(v)));
            assert!(
                p.iter().copied().fold(-1.0, f32::max) > if size[0] < 28 { 0.0 } else { 0.6 },
                "image {i} at {size:?} is faint"
            );
            let border = p[..size[1]].iter().chain(&p[p.len() - size[1]..]);
            assert!(
                border.copied().fold(-1.0, f32::max) < -0.5 || size[0] < 28,
                "image {i} at {size:?} touches the border"
            );
            total += p.iter().map(|v| f64::from(*v + 1.0) / 2.0).sum::<f64>() / p.len() as f64;
        }
        if size == [28, 28] {
            assert!((0.09..0.17).contains(&(total / 100.0)), "{}", total / 100.0);
        }
    }
}

/// A picture at twice the size is the same picture: averaged down it is close to the small one.
#[test]
fn sizes_agree() {
    let (small, large) = (digits([28, 28], 3), digits([56, 56], 3));
    for i in 0..20 {
        let (a, b) = (small.draw(i).0, large.draw(i).0);
        let mean = |y: usize, x: usize| (0..4).map(|k| b[(2 * y + k / 2) * 56 + 2 * x + k % 2]).sum::<f32>() / 4.0;
        let error: f32 = (0..784).map(|k| (a[k] - mean(k / 28, k % 28)).abs()).sum::<f32>() / 784.0;
        assert!(error < 0.05, "image {i}: {error}");
    }
}

/// Golden bits: the same picture on every platform and in every build.
#[test]
fn golden_bits() {
    let d = digits([28, 28], 0);
    let hash = (0..50).flat_map(|i| d.draw(i).0).fold(0xcbf2_9ce4_8422_2325u64, |h, v| {
        v.to_bits().to_le_bytes().iter().fold(h, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
    });
    assert_eq!(hash, 0x6105_203b_e2ac_1560, "{hash:#018x}");
}

#[test]
fn count_is_kept() {
    let d = Digits::new(&DigitsConfig { count: Some(3), ..DigitsConfig::default() });
    let mut s = Noise::new(0).stream(Draw::Augment, 0, 0);
    assert_eq!(d.count(), 3);
    assert!(d.get(2, &mut s).is_ok());
    assert_eq!(d.get(3, &mut s).unwrap_err().to_string(), "image 3 does not exist; the data set has 3");
}

/// Writes a sheet of digits, a row per class, as PNG to the file named by DIFUSI_DIGITS_SHEET, and prints the time taken.
#[test]
#[ignore = "writes a picture for a person"]
fn sheet() {
    let Ok(path) = std::env::var("DIFUSI_DIGITS_SHEET") else { return };
    let side: usize = std::env::var("DIFUSI_DIGITS_SIDE").ok().and_then(|s| s.parse().ok()).unwrap_or(28);
    let (columns, d) = (24, digits([side, side], 5));
    let mut sheet = image::GrayImage::new((columns * side) as u32, (10 * side) as u32);
    let start = std::time::Instant::now();
    for i in 0..10 * columns {
        let (row, column) = (i % 10 * side, i / 10 * side);
        for (k, v) in d.draw(i as u64).0.iter().enumerate() {
            let v = difusi_core::pixels::to_byte(*v);
            sheet.put_pixel((column + k % side) as u32, (row + k / side) as u32, image::Luma([v]));
        }
    }
    println!("{:?} per image", start.elapsed() / (10 * columns as u32));
    sheet.save(path).unwrap();
}
