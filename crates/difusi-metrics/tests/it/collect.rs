//! From pictures to a verdict.

use difusi_core::{Draw, Noise};
use difusi_metrics::{
    CollectOptions, Collector, Extracted, FeatureExtractor, ImageBatch, JudgeOptions, Metric, MetricsError, Pixels,
    Summary, TooFew, judge,
};

/// Four numbers of a picture, and how they would be classified.
struct Corners;

impl FeatureExtractor for Corners {
    fn name(&self) -> &str {
        "corners"
    }

    fn dim(&self) -> usize {
        3
    }

    fn classes(&self) -> Option<usize> {
        Some(2)
    }

    fn spatial_dim(&self) -> Option<usize> {
        Some(2)
    }

    fn extract(&self, images: &ImageBatch) -> Result<Extracted, MetricsError> {
        let of = |k: usize| move |i: usize| f32::from(images.image(i)[k]) / 255.0;
        let rows = |ks: &[usize]| (0..images.count).flat_map(|i| ks.iter().map(move |k| of(*k)(i))).collect();
        let sure = (0..images.count).flat_map(|i| [of(0)(i), 1.0 - of(0)(i)]).collect();
        Ok(Extracted { features: rows(&[0, 1, 2]), probabilities: Some(sure), spatial: Some(rows(&[0, 3])) })
    }
}

/// Random pictures of 4x4, darker by `shift`.
fn pictures(seed: u64, count: u64, shift: u8) -> ImageBatch {
    let mut bytes = Vec::new();
    for i in 0..count {
        let mut s = Noise::new(seed).stream(Draw::Synthetic, i, 0);
        bytes.extend((0..16).map(|_| (s.below(200) as u8).saturating_sub(shift)));
    }
    ImageBatch::new([4, 4, 1], bytes).unwrap()
}

fn collect(images: &ImageBatch, batch: usize, options: &CollectOptions) -> Summary {
    let mut collector = Collector::new(&Corners, options).unwrap();
    for bytes in images.bytes.chunks(16 * batch) {
        // Meant to be what the first number tells.
        let labels = bytes.chunks(16).map(|picture| Some(u32::from(picture[0] < 128)));
        let images = ImageBatch::new([4, 4, 1], bytes.to_vec()).unwrap().with_labels(labels);
        collector.push(&images).unwrap();
    }
    collector.finish().unwrap()
}

/// Every metric is in the verdict, and the size of batches changes nothing.
#[test]
fn everything_at_once() {
    let options = CollectOptions::of(&Metric::ALL);
    let (a, b) = (pictures(1, 300, 0), pictures(2, 250, 40));
    let (one, other) = (collect(&a, 300, &options), collect(&b, 250, &options));
    assert_eq!(one, collect(&a, 7, &options));
    let judged = judge(&one, Some(&other), &Metric::ALL, &JudgeOptions::default()).unwrap();
    assert!(judged.fid.unwrap() > 0.01 && judged.sfid.unwrap() > 0.01);
    let kid = judged.kid.unwrap();
    assert!(kid.mean > 3.0 * kid.standard_error.unwrap() && kid.subset_size == 250);
    assert!(judged.score.unwrap().mean > 1.0 && judged.reference_score.is_some());
    assert!(judged.precision_recall.unwrap().precision > 0.5);
    assert!(judged.spectrum.unwrap().high_share.unwrap() > 0.3 && judged.reference_spectrum.is_some());
    assert!(judged.diversity.unwrap() > judged.reference_diversity.unwrap());
    let agreement = judged.agreement.unwrap();
    assert_eq!((agreement.count(), agreement.share()), (300, 1.0));
    for part in ["300 pictures are few", "250 reference pictures are few", "subsets of 250", "first 250"] {
        assert!(judged.notes.iter().any(|n| n.contains(part)), "{part}: {:?}", judged.notes);
    }
    let same = judge(&one, Some(&one), &[Metric::Fid], &JudgeOptions::default()).unwrap();
    assert!(same.fid.unwrap() < 1e-6 * one.features.as_ref().unwrap().trace());
}

/// Nothing is kept that no metric needs, and what is kept is bounded.
#[test]
fn memory_is_bounded() {
    let images = pictures(1, 100, 0);
    assert!(collect(&images, 9, &CollectOptions::of(&[Metric::Fid, Metric::InceptionScore])).kept.is_empty());
    let few = CollectOptions { keep: 30, ..CollectOptions::of(&[Metric::Kid]) };
    let summary = collect(&images, 9, &few);
    assert_eq!((summary.kept.len(), summary.count), (30 * 3, Some(100)));
    assert_eq!(summary.kept[29 * 3], f32::from(images.image(29)[0]) / 255.0);
}

#[test]
fn statistics_stand_for_pictures() {
    let (a, b) = (pictures(1, 300, 0), pictures(2, 250, 40));
    let options = CollectOptions { statistics: true, ..CollectOptions::of(&[]) };
    let (one, other) = (collect(&a, 50, &options), collect(&b, 50, &options));
    let metrics = [Metric::Fid, Metric::Sfid];
    let direct = judge(&one, Some(&other), &metrics, &JudgeOptions::default()).unwrap();
    let read = Summary::from(other.statistics().unwrap());
    assert_eq!(judge(&one, Some(&read), &metrics, &JudgeOptions::default()).unwrap(), direct);
    let e = judge(&one, Some(&read), &[Metric::Kid], &JudgeOptions::default()).unwrap_err().to_string();
    assert!(e.contains("`kid`") && e.contains("absent"), "{e}");
    let renamed = Summary { name: Some("other".into()), ..read };
    let e = judge(&one, Some(&renamed), &metrics, &JudgeOptions::default()).unwrap_err().to_string();
    assert!(e.contains("other") && e.contains("corners"), "{e}");
}

#[test]
fn too_few_are_refused_unless_forced() {
    let options = CollectOptions::of(&[Metric::Fid]);
    let (few, many) = (collect(&pictures(1, 3, 0), 3, &options), collect(&pictures(2, 2100, 0), 500, &options));
    let with = |too_few| judge(&few, Some(&many), &[Metric::Fid], &JudgeOptions { too_few, ..JudgeOptions::default() });
    let e = with(TooFew::Refuse).unwrap_err().to_string();
    assert!(e.contains("number of pictures is 3") && e.contains("at least 4") && e.contains("--force"), "{e}");
    let forced = with(TooFew::Force).unwrap();
    assert!(forced.fid.unwrap() > 0.0 && forced.notes.len() == 1 && forced.notes[0].contains("far too high"));
    assert!(judge(&many, Some(&many), &[Metric::Fid], &JudgeOptions::default()).unwrap().notes.is_empty());
}

#[test]
fn what_an_extractor_lacks_is_named() {
    let pixels = Pixels::new(2).unwrap();
    for (metric, part) in [
        (Metric::InceptionScore, "no classifier"),
        (Metric::Labels, "no classifier"),
        (Metric::Sfid, "no spatial features"),
    ] {
        let e = Collector::new(&pixels, &CollectOptions::of(&[metric])).err().unwrap().to_string();
        assert!(e.contains("pixels:2") && e.contains(part), "{e}");
    }
    struct Broken(Vec<f32>);
    impl FeatureExtractor for Broken {
        fn name(&self) -> &str {
            "broken"
        }
        fn dim(&self) -> usize {
            2
        }
        fn classes(&self) -> Option<usize> {
            None
        }
        fn spatial_dim(&self) -> Option<usize> {
            None
        }
        fn extract(&self, _: &ImageBatch) -> Result<Extracted, MetricsError> {
            Ok(Extracted { features: self.0.clone(), ..Extracted::default() })
        }
    }
    for (features, part) in [(vec![0.0; 3], "expected 4"), (vec![0.0, 1.0, f32::NAN, 0.0], "NaN")] {
        let broken = Broken(features);
        let mut c = Collector::new(&broken, &CollectOptions::of(&[Metric::Fid])).unwrap();
        let e = c.push(&pictures(1, 2, 0)).unwrap_err().to_string();
        assert!(e.contains("broken") && e.contains(part), "{e}");
    }
}
