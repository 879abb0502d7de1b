//! How SQLite syncs, which whoever builds the program decides.

/// Tells of a program whose SQLite waits for more than it has to: it calls fsync unless it was compiled to know fdatasync.
/// SQLite does not say which it does, but it is compiled with these flags along with this crate.
pub(crate) fn tell_if_missing() {
    let flags = option_env!("LIBSQLITE3_FLAGS").unwrap_or_default();
    if cfg!(target_os = "linux") && !flags.contains("HAVE_FDATASYNC") {
        tracing::info!(
            "the store syncs with fsync; built with LIBSQLITE3_FLAGS=-DHAVE_FDATASYNC=1 in the environment, the \
             program would sync with fdatasync, which is quicker"
        );
    }
}
