//! Sixteen bytes at a time.

use wide::u8x16;

/// Where the first byte is that `found` marks.
#[inline]
pub(crate) fn first(text: &[u8], found: impl Fn(u8x16) -> u8x16) -> Option<usize> {
    let Some(begin) = text.first_chunk() else {
        return first_of_few(text, found);
    };
    // Of a short string the end is near.
    let marked = found(u8x16::new(*begin)).to_bitmask();
    if marked != 0 {
        return Some(marked.trailing_zeros() as usize);
    }
    // In a long text there is mostly none: four vectors are looked at together.
    let (blocks, _) = text.as_chunks::<64>();
    let marks = |block: &[u8; 64]| {
        let (chunks, _) = block.as_chunks::<16>();
        let marked = chunks.iter().map(|chunk| found(u8x16::new(*chunk)));
        marked.fold(u8x16::ZERO, |all, marked| all | marked).any()
    };
    let unmarked = 64 * blocks.iter().take_while(|block| !marks(block)).count();
    let rest = text.get(unmarked..).unwrap_or_default();
    first_of_few(rest, found).map(|at| unmarked + at)
}

/// The same, sixteen bytes at a time.
#[inline]
fn first_of_few(text: &[u8], found: impl Fn(u8x16) -> u8x16) -> Option<usize> {
    let (chunks, rest) = text.as_chunks::<16>();
    for (chunk, at) in chunks.iter().zip((0..).step_by(16)) {
        let marked = found(u8x16::new(*chunk)).to_bitmask();
        if marked != 0 {
            return Some(at + marked.trailing_zeros() as usize);
        }
    }
    if rest.is_empty() {
        return None;
    }
    let (last, before) = match text.last_chunk() {
        Some(last) => (u8x16::new(*last), text.len() - 16),
        None => (padded(text), 0),
    };
    let marked = found(last).to_bitmask();
    if marked == 0 {
        return None;
    }
    // What was looked at before was not marked; what the padding is does not count.
    let index = before + marked.trailing_zeros() as usize;
    (index < text.len()).then_some(index)
}

/// Marks the bytes that are this one.
#[inline]
pub(crate) fn equal(bytes: u8x16, byte: u8) -> u8x16 {
    bytes.simd_eq(u8x16::splat(byte))
}

/// Marks the bytes up to this one.
#[inline]
pub(crate) fn up_to(bytes: u8x16, byte: u8) -> u8x16 {
    bytes.min(u8x16::splat(byte)).simd_eq(bytes)
}

/// Fewer than sixteen bytes, and zeros behind them.
#[inline]
pub(crate) fn padded(text: &[u8]) -> u8x16 {
    // The ends are put together; where they overlap they are the same.
    let behind = |width: usize| 8 * (text.len() - width);
    let bytes = if let (Some(head), Some(tail)) = (text.first_chunk(), text.last_chunk()) {
        let (head, tail) = (u64::from_le_bytes(*head), u64::from_le_bytes(*tail));
        u128::from(head) | u128::from(tail) << behind(8)
    } else if let (Some(head), Some(tail)) = (text.first_chunk(), text.last_chunk()) {
        let (head, tail) = (u32::from_le_bytes(*head), u32::from_le_bytes(*tail));
        u128::from(head) | u128::from(tail) << behind(4)
    } else {
        let bytes = text.iter().rev();
        bytes.fold(0, |word, byte| word << 8 | u128::from(*byte))
    };
    u8x16::new(bytes.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_found_is_what_a_look_at_each_byte_finds(text in "[ -~\\x00-\\x20é\"{}]{0,40}[a-z]{0,200}[é\"{]?[a-z]{0,90}") {
            let bytes = text.as_bytes();
            for byte in [b'"', b'{', b'}', 0, b' ', 0xa9] {
                let wanted = bytes.iter().position(|own| *own == byte);
                prop_assert_eq!(first(bytes, |chunk| equal(chunk, byte)), wanted);
                let wanted = bytes.iter().position(|own| *own <= byte);
                prop_assert_eq!(first(bytes, |chunk| up_to(chunk, byte)), wanted);
            }
        }
    }
}
