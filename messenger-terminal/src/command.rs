//! What is typed.

/// What can be typed, for `/help`.
pub(crate) const HELP: &str = "\
  /to NAME              talk to NAME from now on
  /send FILE            send a file to whom you talk to
  /save [NUMBER] [FILE] save a file that came; without a number the last one
  /contacts             your contacts, and how many messages you have not answered
  /find WHO             look for somebody by login, email or phone
  /add NAME             add NAME to your contacts
  /remove NAME          remove NAME from your contacts
  /profile [NAME]       what others see of you, or what you see of NAME
  /profile FIELD = TEXT change your email, phone or status; nothing behind the = clears it
  /help                 this
  /logout               leave and end the session: the next time needs the password
  /quit                 leave
  anything else is sent to whom you talk to; begin with // to send a /";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command<'l> {
    /// Send this.
    Say(&'l str),
    To(&'l str),
    Send(&'l str),
    /// Which file, if it was said, and where to, if it was.
    Save(Option<usize>, &'l str),
    Contacts,
    Find(&'l str),
    Add(&'l str),
    Remove(&'l str),
    Profile(&'l str),
    /// Field and value.
    Change(&'l str, &'l str),
    Help,
    LogOut,
    Quit,
    Nothing,
    /// It is none, or lacks what it is about.
    Unknown,
}

impl<'l> Command<'l> {
    pub(crate) fn parse(line: &'l str) -> Self {
        let line = line.trim();
        let Some(command) = line.strip_prefix('/') else {
            return if line.is_empty() {
                Self::Nothing
            } else {
                Self::Say(line)
            };
        };
        if command.starts_with('/') {
            return Self::Say(command);
        }
        let (command, rest) = command
            .split_once(char::is_whitespace)
            .unwrap_or((command, ""));
        match (command, rest.trim()) {
            ("contacts", "") => Self::Contacts,
            ("help", "") => Self::Help,
            ("logout", "") => Self::LogOut,
            ("quit", "") => Self::Quit,
            ("save", rest) => Self::save(rest),
            ("profile", rest) => match rest.split_once('=') {
                Some((field, value)) => Self::Change(field.trim(), value.trim()),
                None => Self::Profile(rest),
            },
            (_, "") => Self::Unknown,
            ("to", name) => Self::To(name),
            ("send", file) => Self::Send(file),
            ("find", who) => Self::Find(who),
            ("add", name) => Self::Add(name),
            ("remove", name) => Self::Remove(name),
            _ => Self::Unknown,
        }
    }

    fn save(rest: &'l str) -> Self {
        let (first, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        match first.parse() {
            Ok(number) => Self::Save(Some(number), behind.trim()),
            Err(_) => Self::Save(None, rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Command::{self, *};

    #[test]
    fn what_is_typed_is_understood() {
        let cases = [
            (" hello there ", Say("hello there")),
            ("//etc is a folder", Say("/etc is a folder")),
            ("", Nothing),
            ("/to  Ann Lee", To("Ann Lee")),
            ("/to", Unknown),
            ("/save", Save(None, "")),
            ("/save 3", Save(Some(3), "")),
            ("/save 3 my photo.png", Save(Some(3), "my photo.png")),
            ("/save photo.png", Save(None, "photo.png")),
            ("/profile", Profile("")),
            ("/profile ann", Profile("ann")),
            (
                "/profile email = a@example.org",
                Change("email", "a@example.org"),
            ),
            ("/profile status=", Change("status", "")),
            ("/quit", Quit),
            ("/quit now", Unknown),
            ("/dance", Unknown),
        ];
        for (line, command) in cases {
            assert_eq!(Command::parse(line), command, "{line}");
        }
    }
}
