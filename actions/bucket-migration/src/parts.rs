//! How an object is cut for an upload in parts.

use crate::s3::Object;

const MIB: u64 = 1024 * 1024;

/// Up to here an object always goes in one stream.
const WHOLE_MAX: u64 = 16 * MIB;

/// Up to here an object whose source was written in one stream goes in one stream, too: both copies then have the same
/// entity tag, and a server that assembles parts has to move every byte a second time.
const WHOLE_AS_SOURCE_MAX: u64 = 200 * MIB;

/// Up to here an object passes through the guest's memory: one request to read it with its metadata and one to write
/// it, where a streamed one needs a third request first, because its metadata must be known before the stream starts.
pub const DIRECT_MAX: u64 = 512 * 1024;

/// The protocol's smallest part, but for the last.
const PART_MIN: u64 = 5 * MIB;

/// Large enough to keep a connection busy, small enough to lose little when it breaks.
const PART_USUAL: u64 = 8 * MIB;

/// What the protocol allows.
const PROTOCOL_PARTS_MAX: u64 = 10_000;

/// The protocol allows 10,000 parts; with no more than 1,000 the list of them is one page.
const PARTS_MAX: u64 = 1_000;

/// Part lengths that common tools use, in MiB, the commonest first.
const USED_ELSEWHERE: [u64; 14] = [8, 5, 16, 10, 15, 20, 25, 32, 50, 64, 100, 128, 256, 512];

/// Whether an object goes in one stream; else in parts, several at once. `broke` says that a stream of it has broken off:
/// parts lose less the next time. Nothing longer than `stride`, where there is one.
pub fn goes_whole(object: &Object, broke: bool, stride: Option<u64>) -> bool {
    let whole = match object.in_parts() || broke {
        true => WHOLE_MAX,
        false => WHOLE_AS_SOURCE_MAX,
    };
    object.size <= whole.min(stride.unwrap_or(whole))
}

/// The part length for an object, in bytes.
///
/// The entity tag of an upload in parts is a digest of the parts' digests followed by their number, so two copies have
/// comparable tags only when they were cut alike. The source's number of parts tells which usual length was used; when
/// the guess is wrong, nothing is lost but that verification has to read both copies.
pub fn part_bytes(object: &Object, stride: Option<u64>) -> u64 {
    let number = object.etag.rsplit_once('-').and_then(|(_, number)| number.parse::<u64>().ok());
    let alike = |bytes: &u64| number == Some(object.size.div_ceil(*bytes)) && *bytes >= PART_MIN;
    let usual = USED_ELSEWHERE.iter().map(|mib| mib * MIB).find(alike);
    let wanted = || object.size.div_ceil(PARTS_MAX).div_ceil(MIB) * MIB;
    let bytes = usual.filter(|_| object.size > 0).unwrap_or_else(|| wanted().max(PART_USUAL));
    match stride {
        Some(stride) if stride < bytes => stride.max(PART_MIN).max(object.size.div_ceil(PROTOCOL_PARTS_MAX)),
        _ => bytes,
    }
}

/// How many parts an object has.
pub fn count(size: u64, part_bytes: u64) -> u32 {
    u32::try_from(size.div_ceil(part_bytes.max(1))).unwrap_or(u32::MAX)
}

/// Where part `number` (from 1 on) starts and how long it is.
pub fn span(size: u64, part_bytes: u64, number: u32) -> (u64, u64) {
    let start = u64::from(number.saturating_sub(1)) * part_bytes;
    (start, part_bytes.min(size.saturating_sub(start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_cut_as_its_source_was_where_that_can_be_told() {
        let check = |size: u64, etag: &str, mib: u64| {
            let object = Object { key: "k".into(), size, etag: etag.into(), modified: String::new() };
            assert_eq!(part_bytes(&object, None), mib * MIB, "{size} {etag}");
        };
        check(20 * MIB, "d41d8cd98f00b204e9800998ecf8427e", 8);
        check(20 * MIB, "d41d-3", 8);
        check(20 * MIB, "d41d-4", 5);
        check(20 * MIB, "d41d-2", 16);
        check(1024 * MIB, "d41d-64", 16);
        check(20 * MIB, "d41d-9", 8);
        check(20_000 * MIB, "plain", 20);
        check(20_000 * MIB + 1, "plain", 21);
        check(0, "d41d-0", 8);
    }

    #[test]
    fn an_object_goes_whole_as_its_source_did_unless_a_stream_broke() {
        let check = |size: u64, etag: &str, broke: bool, whole: bool| {
            let object = Object { key: "k".into(), size, etag: etag.into(), modified: String::new() };
            assert_eq!(goes_whole(&object, broke, None), whole, "{size} {etag} {broke}");
        };
        for (etag, broke) in [("plain", false), ("plain", true), ("d41d-2", false), ("d41d-2", true)] {
            check(16 * MIB, etag, broke, true);
            check(16 * MIB + 1, etag, broke, (etag, broke) == ("plain", false));
            check(200 * MIB + 1, etag, broke, false);
        }
        check(200 * MIB, "plain", false, true);
    }

    #[test]
    fn at_a_limited_pace_nothing_is_longer_than_a_stride() {
        let object = Object { key: "k".into(), size: 100 * MIB, etag: "plain".into(), modified: String::new() };
        assert!(!goes_whole(&object, false, Some(50 * MIB)) && goes_whole(&object, false, Some(100 * MIB)));
        assert_eq!(part_bytes(&object, Some(6 * MIB)), 6 * MIB);
        assert_eq!(part_bytes(&object, Some(MIB)), PART_MIN);
        assert_eq!(part_bytes(&object, Some(50 * MIB)), PART_USUAL);
        let huge = Object { size: 1024 * 1024 * MIB, ..object };
        assert!(huge.size.div_ceil(part_bytes(&huge, Some(5 * MIB))) <= PROTOCOL_PARTS_MAX);
    }

    #[test]
    fn parts_cover_an_object_without_gap_or_overlap() {
        for size in [1, PART_MIN, 8 * MIB, 8 * MIB + 1, 100 * MIB - 1] {
            let parts = count(size, PART_USUAL);
            let mut next = 0;
            for number in 1..=parts {
                let (start, length) = span(size, PART_USUAL, number);
                assert_eq!(start, next);
                assert!(length > 0);
                next = start + length;
            }
            assert_eq!(next, size);
        }
    }
}
