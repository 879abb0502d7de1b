//! A new password for a user.

use super::CommandError;
use messenger_core::proto::Password;
use std::io::{self, BufRead, IsTerminal};

/// Asks for it twice on a terminal, where it does not show, and otherwise reads a line of standard input.
pub(super) fn read(login: &str, md5: bool) -> Result<Password, CommandError> {
    let typed = if io::stdin().is_terminal() {
        ask(login)?
    } else {
        read_line()?
    };
    let typed = typed.trim_end_matches(['\r', '\n']);
    if typed.is_empty() {
        return Err(CommandError::NoPassword);
    }
    Ok(if md5 {
        Password::md5_of(typed)
    } else {
        typed.into()
    })
}

fn ask(login: &str) -> Result<String, CommandError> {
    let prompt = |text| rpassword::prompt_password(text).map_err(|_| CommandError::NoPassword);
    let typed = prompt(format!("The new password of {login}: "))?;
    if prompt("Once more: ".to_owned())? != typed {
        return Err(CommandError::PasswordsDiffer);
    }
    Ok(typed)
}

fn read_line() -> Result<String, CommandError> {
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(|_| CommandError::NoPassword)?;
    Ok(line)
}
