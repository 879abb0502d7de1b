//! Email addresses.

use icu_casemap::CaseMapper;
use icu_normalizer::{ComposingNormalizer, DecomposingNormalizer};

/// What stands between several addresses in one field.
const SEPARATORS: [char; 3] = [',', ';', '\n'];

/// The keys of the addresses in a text: `ann@example.org`, `Ann <ann@example.org>`, `mailto:…`, or
/// several of them.
pub(super) fn keys(text: &str) -> impl Iterator<Item = String> {
    // A separator may stand in the name before an address that is in angle brackets.
    let is_named = text.contains('<') && text.contains('>');
    let pieces = text.split(move |c| {
        if is_named {
            c == '>'
        } else {
            SEPARATORS.contains(&c)
        }
    });
    pieces.filter_map(move |piece| {
        let address = match piece.rsplit_once('<') {
            Some((_, address)) => address,
            None if is_named => return None,
            None => piece,
        };
        key(address)
    })
}

/// The key of one address. `None` when it is none.
fn key(address: &str) -> Option<String> {
    let address = without_scheme(address.trim());
    let (local, host) = address.rsplit_once('@')?;
    let host = host.trim_end_matches(['.', '>', ')', '"', '\'']);
    let local = local.trim_start_matches(['(', '"', '\'']).trim();
    if local.is_empty() || host.trim().is_empty() {
        return None;
    }
    // Letters of another script stand for themselves and for `xn--`.
    let host = idna::domain_to_ascii(host.trim()).unwrap_or_else(|_| folded(host.trim()));
    Some(format!("{}@{host}", folded(local)))
}

/// Without `mailto:` and what a link says behind the address.
fn without_scheme(address: &str) -> &str {
    const SCHEME: &str = "mailto:";
    match address.split_at_checked(SCHEME.len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => {
            rest.split('?').next().unwrap_or(rest).trim()
        }
        _ => address,
    }
}

/// The text without regard to case, and to how its accents are composed.
fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let decomposed = DecomposingNormalizer::new_nfd()
        .normalize(text)
        .into_owned();
    let folded = CaseMapper::new().fold_string(&decomposed).into_owned();
    ComposingNormalizer::new_nfc()
        .normalize(&folded)
        .into_owned()
}
