//! Bytes of any kind give an error, never a panic.

use proptest::prelude::*;

use super::{flat, gz, write};
use crate::decode::decode_bytes;
use crate::idx::{IdxKind, read};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn idx_headers(header in prop::collection::vec(any::<u8>(), 0..40), packed: bool, magic: bool) {
        let bytes = if magic { [&[0, 0, 8, 3][..], &header].concat() } else { header };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        write(&path, &if packed { gz(&bytes) } else { bytes });
        let _ = read(&path, IdxKind::Images);
    }

    #[test]
    fn damaged_images(at in 0usize..400, by in 1u8..=255, jpeg: bool) {
        let png = flat([9, 7], [1, 200, 3]);
        let mut bytes = if jpeg {
            let mut out = std::io::Cursor::new(Vec::new());
            decode_bytes(&png).unwrap().image.write_to(&mut out, image::ImageFormat::Jpeg).unwrap();
            out.into_inner()
        } else {
            png
        };
        let at = at % bytes.len();
        bytes[at] ^= by;
        let _ = decode_bytes(&bytes);
    }
}
