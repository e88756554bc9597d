//! A folder of images: order, labels, captions, broken files, memory.

use std::path::Path;

use difusi_core::Dataset;

use super::{flat, image, only, write};
use crate::{
    Channels, DataConfig, DataError, Folder, FolderConfig, FolderImages, LabelSource, OpenOptions, RawImage, guess,
    info,
};

fn config() -> FolderConfig {
    FolderConfig { size: [4, 4].into(), ..FolderConfig::default() }
}

fn open(dir: &Path, config: &FolderConfig) -> Result<Folder, DataError> {
    Folder::open(config, &only(dir))
}

fn error(dir: &Path, config: &FolderConfig) -> String {
    open(dir, config).err().expect("an error").to_string()
}

fn names(folder: &Folder, dir: &Path) -> Vec<String> {
    let name = |i| folder.path(i).unwrap().strip_prefix(dir).unwrap().to_string_lossy().replace('\\', "/");
    (0..folder.count()).map(name).collect()
}

/// Sub-folders are classes; the order is by path, hidden and other files are no images.
#[test]
fn class_folders() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    for (name, v) in
        [("b/2.png", 1), ("b/10.PNG", 2), ("a/x/deep.png", 3), ("a-b/1.png", 4), ("a/.hid.png", 5), (".h/1.png", 6)]
    {
        write(&d.join(name), &flat([4, 4], [v; 3]));
    }
    write(&d.join("b/notes.txt"), b"x");
    write(&d.join("__MACOSX/a/1.png"), b"x");
    let f = open(d, &config()).unwrap();
    assert_eq!(names(&f, d), ["a/x/deep.png", "a-b/1.png", "b/10.PNG", "b/2.png"]);
    assert_eq!((f.classes(), &f.report().class_names[..]), (Some(3), &["a".into(), "a-b".into(), "b".into()][..]));
    let labels: Vec<u32> = (0..4).map(|i| image(&f, i).1.unwrap()).collect();
    assert_eq!(labels, [0, 1, 2, 2]);
    assert_eq!(image(&f, 2).0, vec![2; 48]);
    assert_eq!((f.report().ignored, f.report().skipped.len()), (1, 0));
    assert_eq!(open(d, &FolderConfig { labels: LabelSource::None, ..config() }).unwrap().classes(), None);
    // an image beside the sub-folders: no classes, unless asked for
    write(&d.join("top.png"), &flat([4, 4], [9; 3]));
    assert_eq!(open(d, &config()).unwrap().classes(), None);
    let e = error(d, &FolderConfig { labels: LabelSource::Folders, ..config() });
    assert!(e.contains("top.png") && e.contains("class sub-folder"), "{e}");
}

fn with_table(lines: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..3u8 {
        write(&dir.path().join(format!("img/{i}.png")), &flat([4, 4], [i; 3]));
    }
    write(&dir.path().join("metadata.jsonl"), lines.as_bytes());
    dir
}

fn rows(values: [&str; 3]) -> String {
    let row = |(i, v): (usize, &&str)| format!("{{\"file_name\": \"img/{i}.png\"{v}}}\n");
    values.iter().enumerate().map(row).collect()
}

/// Labels as integers or names, captions, unlisted images left alone.
#[test]
fn metadata() {
    let dir =
        with_table(&rows([", \"label\": 4, \"text\": \"a cat\"", ", \"label\": 0, \"other\": [1]", ", \"label\": 2"]));
    let f = open(dir.path(), &config()).unwrap();
    assert_eq!((f.count(), f.classes(), f.caption(0), f.caption(1)), (3, Some(5), Some("a cat"), None));
    assert_eq!((0..3).map(|i| image(&f, i).1.unwrap()).collect::<Vec<_>>(), [4, 0, 2]);
    assert_eq!(f.report().captions, 1);

    let dir = with_table(&rows([", \"label\": \"dog\"", ", \"label\": \"cat\"", ", \"label\": \"dog\""]));
    write(&dir.path().join("other.png"), &flat([4, 4], [9; 3]));
    let f = open(dir.path(), &config()).unwrap();
    assert_eq!((0..3).map(|i| image(&f, i).1.unwrap()).collect::<Vec<_>>(), [1, 0, 1]);
    assert_eq!((&f.report().class_names[..], f.report().ignored), (&["cat".into(), "dog".into()][..], 1));

    let dir = with_table("\u{feff}{\"file_name\": \"./img/1.png\", \"caption\": \"one\"}\n\n");
    let f = open(dir.path(), &config()).unwrap();
    assert_eq!((f.count(), f.classes(), f.caption(0)), (1, None, Some("one")));
    assert!(error(dir.path(), &FolderConfig { labels: LabelSource::Metadata, ..config() }).contains("label in line 1"));
}

#[test]
fn wrong_metadata() {
    for (lines, message) in [
        (rows([", \"label\": 1", "", ", \"label\": 2"]), "label in line 2 is missing"),
        (
            rows([", \"label\": 1", ", \"label\": \"x\"", ", \"label\": 2"]),
            "integers in every line, or names in every line",
        ),
        (rows([", \"label\": 1", ", \"label\": -3", ", \"label\": 2"]), "label of entry 1 is -3; expected 0..65535"),
        (rows([", \"label\": 1.5", "", ""]), "line 1 is not understood"),
        ("{\"file\": 1}".into(), "line 1 is not understood"),
        (
            "{\"file_name\": \"../x.png\"}".into(),
            "`file_name` in line 1 is `../x.png`; expected a path inside the folder",
        ),
        ("{\"file_name\": \"/etc/x.png\"}".into(), "expected a path inside the folder"),
        (String::new(), "table is empty"),
    ] {
        let dir = with_table(&lines);
        let e = error(dir.path(), &config());
        assert!(e.contains(message) && e.contains("metadata.jsonl"), "{e}\n{message}");
    }
}

/// One broken image in twenty is left out and named; two are an error; a listed file that is absent is broken too.
#[test]
fn broken_images() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..20 {
        write(&dir.path().join(format!("{i:02}.png")), &flat([4, 4], [i; 3]));
    }
    let whole = flat([4, 4], [7; 3]);
    write(&dir.path().join("07.png"), &whole[..whole.len() - 20]);
    let f = open(dir.path(), &config()).unwrap();
    assert_eq!((f.count(), f.report().skipped.len()), (19, 1));
    assert!(f.report().skipped[0].path.ends_with("07.png"));
    assert_eq!(image(&f, 7).0, vec![8; 48]);
    write(&dir.path().join("11.png"), b"");
    let e = error(dir.path(), &config());
    assert!(e.contains("2 of 20 images are broken; expected at most 5 %"), "{e}");
    assert!(e.contains("07.png") && e.contains("11.png: file is empty"), "{e}");
    let i = info(dir.path(), &OpenOptions::default()).unwrap();
    assert_eq!((i.count, i.skipped.len()), (Some(18), 2));

    let listed = with_table(&rows(["", "", ""]));
    std::fs::remove_file(listed.path().join("img/1.png")).unwrap();
    let e = error(listed.path(), &config());
    assert!(e.contains("1 of 3 images are broken") && e.contains("metadata.jsonl line 2 but not there"), "{e}");
}

/// A link to an image that is gone is a broken image like any other; hidden ones are not looked at.
#[test]
#[cfg(unix)]
fn links_to_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..20 {
        write(&dir.path().join(format!("{i:02}.png")), &flat([4, 4], [i; 3]));
    }
    for name in ["gone.png", "gone.txt", ".gone.png"] {
        std::os::unix::fs::symlink("no-such-file", dir.path().join(name)).unwrap();
    }
    let f = open(dir.path(), &config()).unwrap();
    assert_eq!((f.count(), f.report().skipped.len(), f.report().ignored), (20, 1, 1));
    assert!(f.report().skipped[0].to_string().contains("gone.png: a link to a file that is not there"));
}

#[test]
fn empty_and_absent() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a.txt"), b"");
    let e = error(dir.path(), &config());
    assert!(e.contains("no images found; expected PNG, JPEG or WebP") && e.contains("(1 other files ignored)"), "{e}");
    let e = error(&dir.path().join("no"), &config());
    assert!(e.contains("not found") && e.contains("`--data PATH`"), "{e}");
    let nowhere = DataConfig::Folder(config()).open(&OpenOptions { search: Default::default(), ..Default::default() });
    assert!(nowhere.err().unwrap().to_string().contains("`--data PATH`"));
}

/// The memory budget changes where pixels come from, not what they are; sizes are any, square or not.
#[test]
fn lazy_equals_eager() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..5u32 {
        let side = [3 + i, 9 - i];
        write(&dir.path().join(format!("{i}.png")), &flat(side, [i as u8 * 40, 3, 200]));
    }
    for size in [[4, 4], [2, 6], [7, 3]] {
        let c = FolderConfig { size: size.into(), flip: true, ..config() };
        let eager = open(dir.path(), &c).unwrap();
        let bytes = (size[0] * size[1] * 3) as u64;
        let some = Folder::open(&c, &OpenOptions { memory_budget: 2 * bytes + 1, ..only(dir.path()) }).unwrap();
        assert_eq!((eager.report().lazy, some.report().lazy), (0, 3));
        for i in 0..5 {
            assert_eq!(image(&eager, i), image(&some, i));
            assert_eq!(image(&eager, i).0, [i as u8 * 40, 3, 200].repeat(size[0] * size[1]));
        }
        std::fs::rename(dir.path().join("4.png"), dir.path().join("4.txt")).unwrap();
        let e = some.get(4, &mut super::stream(0)).unwrap_err().to_string();
        assert!(e.contains("4.png: cannot be read"), "{e}");
        std::fs::rename(dir.path().join("4.txt"), dir.path().join("4.png")).unwrap();
    }
}

/// Size and channels are taken over where images agree; progress reaches the end.
#[test]
fn guesses() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("1.png"), &flat([12, 20], [1, 2, 3]));
    write(&dir.path().join("2.png"), &flat([12, 20], [1, 2, 3]));
    let search = Default::default();
    match guess(dir.path(), &search).unwrap() {
        DataConfig::Folder(c) => assert_eq!((c.size, c.channels), ([12, 20].into(), Channels::Rgb)),
        other => panic!("{other:?}"),
    }
    write(&dir.path().join("3.png"), &flat([500, 20], [1, 2, 3]));
    match guess(dir.path(), &search).unwrap() {
        DataConfig::Folder(c) => assert_eq!(c.size, [64, 64].into()),
        other => panic!("{other:?}"),
    }
    let last = std::sync::atomic::AtomicU64::new(0);
    let progress = |done, total| {
        assert_eq!(total, 3);
        last.fetch_max(done, std::sync::atomic::Ordering::Relaxed);
    };
    Folder::open(&config(), &OpenOptions { progress: Some(&progress), ..only(dir.path()) }).unwrap();
    assert_eq!(last.into_inner(), 3);
    assert!(guess(&dir.path().join("1.png"), &search).unwrap_err().to_string().contains("expected a folder"));
    assert!(guess(Path::new("no-such"), &search).unwrap_err().to_string().contains("fashion-mnist"));
}

/// Images as they are: own size, grey or colour; what is broken is an error with its name.
#[test]
fn images_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    write(&d.join("b.png"), &flat([2, 3], [9; 3]));
    write(&d.join("a/c.png"), &flat([5, 4], [1, 2, 3]));
    write(&d.join("z.png"), b"x");
    let images = FolderImages::open(d).unwrap();
    assert_eq!(images.count(), 3);
    let colour = images.get(0).unwrap();
    assert_eq!((colour.shape[2], &colour.bytes[..3], colour.bytes.len()), (3, &[1, 2, 3][..], 60));
    let RawImage { bytes, shape } = images.get(1).unwrap();
    assert_eq!((bytes.len(), bytes.iter().all(|v| *v == 9)), (shape.iter().product(), true));
    assert!(images.get(2).unwrap_err().to_string().contains("z.png"));
    assert!(images.get(3).unwrap_err().to_string().contains("has 3"));
    assert!(FolderImages::open(&d.join("absent")).is_err());
}
