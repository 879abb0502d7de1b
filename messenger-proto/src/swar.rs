//! Many bytes at a time: eight in a word, or as many as the compiler makes of a chunk.

const LOWEST: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGHEST: u64 = u64::from_ne_bytes([0x80; 8]);

/// Where the first byte is that `found` marks in its word: the lowest bit it sets is that byte's
/// highest.
pub(crate) fn first(text: &[u8], found: impl Fn(u64) -> u64) -> Option<usize> {
    let index = |word: u64| {
        let found = found(word);
        (found != 0).then(|| found.trailing_zeros() as usize / 8)
    };
    let (words, rest) = text.as_chunks::<8>();
    for (word, at) in words.iter().zip((0..).step_by(8)) {
        if let Some(index) = index(u64::from_le_bytes(*word)) {
            return Some(at + index);
        }
    }
    if rest.is_empty() {
        return None;
    }
    let last = match text.last_chunk::<8>() {
        // Without those of its bytes that have been looked at.
        Some(last) => u64::from_le_bytes(*last) >> (8 * (8 - rest.len())),
        None => (rest.iter().rev()).fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    let index = index(last).filter(|index| *index < rest.len())?;
    Some(text.len() - rest.len() + index)
}

/// How many bytes there are at the beginning in whole chunks that have none such.
pub(crate) fn skip<const CHUNK: usize>(text: &[u8], is_such: impl Fn(u8) -> bool) -> usize {
    let (chunks, _) = text.as_chunks::<CHUNK>();
    // Without an early exit the compiler makes a chunk a few vector instructions.
    let any = |any, byte: &u8| any | is_such(*byte);
    let clean = chunks
        .iter()
        .take_while(|chunk| !chunk.iter().fold(false, any));
    CHUNK * clean.count()
}

/// Marks the lowest byte that is this one; bytes above it may be marked wrongly.
pub(crate) fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ u64::from_ne_bytes([byte; 8]), 1)
}

/// Marks the lowest byte that is less, of 128 at the most; bytes above it may be marked wrongly.
pub(crate) fn below(word: u64, byte: u8) -> u64 {
    word.wrapping_sub(LOWEST * u64::from(byte)) & !word & HIGHEST
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_found_is_what_a_look_at_each_byte_finds(text in "[ -~\\x00-\\x20é\"{}]{0,40}") {
            let bytes = text.as_bytes();
            for byte in [b'"', b'{', b'}', 0, b' '] {
                let wanted = bytes.iter().position(|own| *own == byte);
                prop_assert_eq!(first(bytes, |word| equal(word, byte)), wanted);
                let wanted = bytes.iter().position(|own| *own < byte);
                prop_assert_eq!(first(bytes, |word| below(word, byte)), wanted);
                let clean = skip::<16>(bytes, |own| own < byte);
                prop_assert_eq!(clean, wanted.unwrap_or(bytes.len()) / 16 * 16);
            }
        }
    }
}
