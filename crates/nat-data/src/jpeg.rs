//! Does a JPEG stream reach its end?
//!
//! Decoders fill what is missing of a cut JPEG with grey and report success, so the only sign of
//! a truncated file is an end-of-image marker that never comes.

const START_OF_IMAGE: u8 = 0xD8;
const END_OF_IMAGE: u8 = 0xD9;
const TEMPORARY: u8 = 0x01;
const RESTARTS: std::ops::RangeInclusive<u8> = 0xD0..=0xD7;

/// Walks the marker segments (ITU-T T.81, annex B) and says whether an end-of-image marker follows
/// the last scan. Segments are stepped over whole, so the end of an embedded thumbnail does not
/// count; bytes after the end are allowed, as cameras append data there.
pub(crate) fn reaches_end(stream: &[u8]) -> bool {
    let mut at = 0;
    loop {
        // In entropy-coded data a byte FF is followed by 00; FF FF is fill.
        let Some(found) = stream[at..]
            .windows(2)
            .position(|pair| pair[0] == 0xFF && pair[1] != 0x00 && pair[1] != 0xFF)
        else {
            return false;
        };
        let marker = stream[at + found + 1];
        at += found + 2;
        if marker == END_OF_IMAGE {
            return true;
        }
        if marker == START_OF_IMAGE || marker == TEMPORARY || RESTARTS.contains(&marker) {
            continue;
        }
        let Some(length) = stream.get(at..at + 2) else {
            return false;
        };
        at += usize::from(u16::from_be_bytes([length[0], length[1]]));
        if at >= stream.len() {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbnail_does_not_end_the_picture() {
        let thumbnail = [0xFF, 0xD8, 0xFF, 0xD9];
        let mut stream = vec![0xFF, 0xD8, 0xFF, 0xE1, 0x00, 0x06];
        stream.extend(thumbnail);
        stream.extend([
            0xFF, 0xDA, 0x00, 0x02, 0x12, 0xFF, 0x00, 0x34, 0xFF, 0xD0, 0x56,
        ]);
        assert!(!reaches_end(&stream));
        stream.extend([0xFF, 0xFF, 0xD9, 0x00, 0x01]);
        assert!(reaches_end(&stream));
    }

    #[test]
    fn every_proper_prefix_is_cut() {
        let whole = include_bytes!("../tests/hostile/files/gray.jpg");
        assert!(reaches_end(whole));
        for length in 0..whole.len() {
            assert!(!reaches_end(&whole[..length]), "prefix of {length} bytes");
        }
    }
}
