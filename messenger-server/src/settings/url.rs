//! Settings that are URLs, in which there may be a password: what is wrong with one is told without showing it.

use super::SettingsError;
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use std::error::Error;
use std::ffi::OsStr;
use std::marker::PhantomData;
use std::str::FromStr;

/// Reads a URL.
pub(crate) struct Url<T>(PhantomData<fn() -> T>);

impl<T> Url<T> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Clone for Url<T> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<T> TypedValueParser for Url<T>
where
    T: FromStr<Err = SettingsError> + Clone + Send + Sync + 'static,
{
    type Value = T;

    fn parse_ref(
        &self,
        command: &clap::Command,
        setting: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        let url = value.to_string_lossy();
        url.parse().map_err(|error: SettingsError| {
            let setting = setting.map(ToString::to_string).unwrap_or_default();
            let why = match error.source() {
                Some(cause) => format!("{setting}: {error} ({cause})"),
                None => format!("{setting}: {error}"),
            };
            command.clone().error(ErrorKind::ValueValidation, why)
        })
    }
}
