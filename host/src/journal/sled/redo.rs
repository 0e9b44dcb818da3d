//! Makes a large batch atomic without one large batch of sled. Recovery of sled 0.34 can lose rows, or fail, when a cut
//! tears a batch that fills several segments of its log; the power-cut test shows it. So nothing larger than a part of
//! a segment is ever in flight: a larger batch is first written down, in small steps, as rows of its own (`3` and a
//! number); one more row (`4`) says that it is complete, which is the moment of the commit; then the batch is carried
//! out in small steps, and what was written down is removed. Opening the store carries out what was complete and
//! removes what was not.

use super::{
    StoreError, failed,
    layout::{Change, Changes, damaged},
};

const PART: u8 = 3;
const COMPLETE: [u8; 1] = [4];

/// Parts removed in one step at most; their keys have 5 bytes.
const REMOVED_MAX: usize = 256;

/// Makes a few changes atomic and durable.
type Step<'a> = dyn Fn(&[Change]) -> Result<(), StoreError> + 'a;

/// Carries out changes that are too many for one step.
pub(super) fn carry_out(
    changes: &Changes,
    step_bytes: usize,
    part_bytes: usize,
    step: &Step,
) -> Result<(), StoreError> {
    let written = write_down(changes);
    let parts: Changes =
        written.chunks(part_bytes).enumerate().map(|(n, part)| (part_key(n), Some(part.to_vec()))).collect();
    in_steps(&parts, step_bytes, step)?;
    step(&[(COMPLETE.to_vec(), Some((written.len() as u64).to_be_bytes().to_vec()))])?;
    finish(changes, parts.len(), step_bytes, step)
}

/// Finishes what a crash interrupted.
pub(super) fn recover(rows: &sled::Tree, step_bytes: usize, step: &Step) -> Result<(), StoreError> {
    let complete = rows.get(COMPLETE).map_err(failed)?;
    let mut written = Vec::new();
    let mut parts = 0;
    for part in rows.scan_prefix([PART]) {
        let (key, part) = part.map_err(failed)?;
        if complete.is_some() && *key != *part_key(parts) {
            return Err(damaged("a part of a large batch is missing"));
        }
        written.extend_from_slice(&part);
        parts += 1;
    }
    match complete {
        Some(length) if *length == (written.len() as u64).to_be_bytes() => {
            let changes = read_back(&written).ok_or_else(|| damaged("a large batch cannot be read"))?;
            finish(&changes, parts, step_bytes, step)
        }
        Some(_) => Err(damaged("a large batch has another length than it should")),
        None => {
            let keys = rows.scan_prefix([PART]).keys().collect::<Result<Vec<_>, _>>().map_err(failed)?;
            let removals: Changes = keys.into_iter().map(|key| (key.to_vec(), None)).collect();
            removals.chunks(REMOVED_MAX).try_for_each(step)
        }
    }
}

fn finish(changes: &Changes, parts: usize, step_bytes: usize, step: &Step) -> Result<(), StoreError> {
    in_steps(changes, step_bytes, step)?;
    // First that it is complete goes, so that parts which are left mean nothing.
    step(&[(COMPLETE.to_vec(), None)])?;
    let removals: Changes = (0..parts).map(|n| (part_key(n), None)).collect();
    removals.chunks(REMOVED_MAX).try_for_each(step)
}

fn in_steps(changes: &Changes, step_bytes: usize, step: &Step) -> Result<(), StoreError> {
    let mut rest = &changes[..];
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|(key, value)| {
            bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            bytes <= step_bytes
        });
        let (now, later) = rest.split_at(fits.count().max(1));
        step(now)?;
        rest = later;
    }
    Ok(())
}

fn part_key(number: usize) -> Vec<u8> {
    let mut key = vec![PART];
    key.extend_from_slice(&(number as u32).to_be_bytes());
    key
}

/// Per change: the key's length (4 bytes) and the key; `0`, or `1`, the value's length (4 bytes) and the value.
fn write_down(changes: &Changes) -> Vec<u8> {
    let mut written = Vec::new();
    let put = |bytes: &[u8], written: &mut Vec<u8>| {
        written.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        written.extend_from_slice(bytes);
    };
    for (key, value) in changes {
        put(key, &mut written);
        written.push(u8::from(value.is_some()));
        if let Some(value) = value {
            put(value, &mut written);
        }
    }
    written
}

fn read_back(mut written: &[u8]) -> Option<Changes> {
    let mut changes = Changes::new();
    while !written.is_empty() {
        let key = take(&mut written)?;
        let (has_value, rest) = written.split_first()?;
        written = rest;
        let value = if *has_value == 1 { Some(take(&mut written)?) } else { None };
        changes.push((key, value));
    }
    Some(changes)
}

fn take(written: &mut &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = written.split_first_chunk::<4>()?;
    let (bytes, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *written = rest;
    Some(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_reads_back_as_it_was_written_down() {
        let changes: Changes =
            vec![(vec![1, 2], Some(vec![3; 300])), (vec![], None), (vec![4], Some(vec![])), (vec![5; 70], None)];
        let written = write_down(&changes);
        assert_eq!(read_back(&written), Some(changes));
        for cut in [1, 4, 7, written.len() - 1] {
            assert_eq!(read_back(&written[..cut]), None, "cut at {cut}");
        }
    }
}
