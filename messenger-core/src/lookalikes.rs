//! Logins that look the same: Unicode Technical Standard #39, section 4.

use unicode_security::UNICODE_VERSION;

/// What a login looks like. Those that can be taken for each other, such as `paypal` with Latin and with
/// Cyrillic letters, or `rnary` and `mary`, have the same skeleton. It is for comparing, not for showing.
///
/// ```
/// use messenger_core::lookalikes::skeleton;
///
/// assert_eq!(skeleton("paypal"), skeleton("раураl"));
/// assert_ne!(skeleton("ann"), skeleton("anne"));
/// ```
pub fn skeleton(login: &str) -> String {
    unicode_security::skeleton(login).collect()
}

/// Names the tables by which skeletons are computed. A store that keeps skeletons computes them anew when
/// this has changed.
pub fn version() -> String {
    let (major, minor, patch) = UNICODE_VERSION;
    format!("1, Unicode {major}.{minor}.{patch}")
}
