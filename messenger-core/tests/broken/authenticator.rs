//! Authenticators that break a promise.

use messenger_core::async_trait;
use messenger_core::authenticator::{
    Authenticator, AuthenticatorError, Identity, RegisterError, Verdict,
};
use messenger_core::proto::{Password, Register, UserId};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    AcceptsAnyPassword,
    AcceptsWhatThePasswordBeginsWith,
    AcceptsNobody,
    IdentifiesNobody,
    IdentifiesEverybody,
    TellsAnotherNick,
    TakesTheUnknownForAWrongPassword,
    MixesUpWhoAsksAtOnce,
    MakesAnAccountTwice,
    ForgetsAccounts,
    RegistersOverOthers,
    RefusesWithoutAWord,
}

impl Fault {
    pub(crate) const ALL: &[Self] = &[
        Self::AcceptsAnyPassword,
        Self::AcceptsWhatThePasswordBeginsWith,
        Self::AcceptsNobody,
        Self::IdentifiesNobody,
        Self::IdentifiesEverybody,
        Self::TellsAnotherNick,
        Self::TakesTheUnknownForAWrongPassword,
        Self::MixesUpWhoAsksAtOnce,
        Self::MakesAnAccountTwice,
        Self::ForgetsAccounts,
        Self::RegistersOverOthers,
        Self::RefusesWithoutAWord,
    ];
}

/// A table of passwords and nicks.
pub(crate) struct Broken {
    fault: Fault,
    accounts: Mutex<HashMap<UserId, (String, String)>>,
    asked: AtomicUsize,
}

impl Broken {
    /// Knows Ann, whose password is `secret`.
    pub(crate) fn new(fault: Fault) -> Self {
        let ann = ("secret".to_owned(), "Ann".to_owned());
        Self {
            fault,
            accounts: Mutex::new(HashMap::from([("ann".into(), ann)])),
            asked: AtomicUsize::new(0),
        }
    }

    fn account(&self, login: &UserId) -> Option<(String, String)> {
        self.accounts.lock().unwrap().get(login).cloned()
    }
}

#[async_trait]
impl Authenticator for Broken {
    async fn identify(&self, login: &UserId) -> Result<Option<Identity>, AuthenticatorError> {
        let nick = match self.fault {
            Fault::IdentifiesNobody => None,
            Fault::IdentifiesEverybody => Some("Anybody".to_owned()),
            _ => self.account(login).map(|(_, nick)| nick),
        };
        Ok(nick.map(Identity::new))
    }

    async fn verify(&self, login: &UserId, pass: &Password) -> Result<Verdict, AuthenticatorError> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst);
        let Some((right, nick)) = self.account(login) else {
            return Ok(match self.fault {
                Fault::TakesTheUnknownForAWrongPassword => Verdict::WrongPass,
                _ => Verdict::NoSuchLogin,
            });
        };
        let is_right = match self.fault {
            Fault::AcceptsAnyPassword => true,
            Fault::AcceptsWhatThePasswordBeginsWith => pass.as_str().starts_with(&right),
            Fault::AcceptsNobody => false,
            Fault::MixesUpWhoAsksAtOnce if number >= 32 => number % 2 == 1,
            _ => pass.as_str() == right,
        };
        let nick = match self.fault {
            Fault::TellsAnotherNick => nick.to_uppercase(),
            _ => nick,
        };
        Ok(if is_right {
            Verdict::Accepted(Identity::new(nick))
        } else {
            Verdict::WrongPass
        })
    }

    async fn register(&self, register: &Register) -> Result<(), RegisterError> {
        if self.fault == Fault::RefusesWithoutAWord {
            return Err(RegisterError::Refused("".into()));
        }
        let login = UserId::from(&*register.login);
        let is_taken = match self.fault {
            Fault::MakesAnAccountTwice => login.as_str() == "ann",
            Fault::RegistersOverOthers => login.as_str() != "ann" && self.account(&login).is_some(),
            _ => self.account(&login).is_some(),
        };
        if is_taken {
            return Err(RegisterError::LoginTaken);
        }
        if self.fault != Fault::ForgetsAccounts {
            let account = (register.pass.as_str().to_owned(), register.nick.to_string());
            self.accounts.lock().unwrap().insert(login, account);
        }
        Ok(())
    }
}
