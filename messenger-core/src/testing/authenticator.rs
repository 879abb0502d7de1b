//! What every [`Authenticator`] must do.

use crate::Engine;
use crate::authenticator::{Authenticator, AuthenticatorError, Identity, RegisterError, Verdict};
use futures_util::future::join_all;
use messenger_proto::{Auth, Password, Register, UserId};
use std::sync::Arc;

/// Runs every case, each on an authenticator made by `make`, which knows a user with this login and this password, as a client
/// sends it, and nobody else.
///
/// # Panics
/// A case fails.
///
/// # Examples
/// The [crate's page](crate) has an authenticator, and this suite for it.
pub async fn suite<A: Authenticator>(login: &str, pass: &str, make: impl AsyncFn() -> Arc<A>) {
    let known = &Known {
        login: login.into(),
        pass: pass.into(),
    };
    a_user_is_who_the_login_says(&*make().await, known).await;
    a_wrong_password_is_told_from_a_login_that_nobody_has(&*make().await, known).await;
    many_who_ask_at_once_are_not_mixed_up(&*make().await, known).await;
    an_account_is_made_once_or_refused(&*make().await, known).await;
    nobody_registers_as_somebody_else(&*make().await, known).await;
    an_engine_lets_its_users_in(make().await, known).await;
}

/// The user whom the authenticator knows.
struct Known {
    login: UserId,
    pass: Password,
}

/// A login that an authenticator with one user does not know.
fn stranger(known: &Known) -> UserId {
    UserId::from(format!("{}2", known.login.as_str()))
}

/// Passwords that are not the user's.
fn wrong(known: &Known) -> Vec<Password> {
    let right = known.pass.as_str();
    let shorter: String = right.chars().skip(1).collect();
    let wrong = [
        String::new(),
        format!("{right}2"),
        shorter,
        format!(" {right}"),
    ];
    wrong.iter().map(|pass| pass.as_str().into()).collect()
}

async fn accepted(authenticator: &impl Authenticator, login: &UserId, pass: &Password) -> Identity {
    match authenticator.verify(login, pass).await.unwrap() {
        Verdict::Accepted(identity) => identity,
        refused => panic!("the right password was not accepted: {refused:?}"),
    }
}

async fn a_user_is_who_the_login_says(authenticator: &impl Authenticator, known: &Known) {
    let identity = authenticator.identify(&known.login).await.unwrap();
    let identity = identity.expect("the user who is known");
    assert!(!identity.nick.is_empty(), "a user has a nick");
    let verified = accepted(authenticator, &known.login, &known.pass).await;
    assert_eq!(verified.nick, identity.nick);
}

async fn a_wrong_password_is_told_from_a_login_that_nobody_has(
    authenticator: &impl Authenticator,
    known: &Known,
) {
    for pass in wrong(known) {
        let verdict = authenticator.verify(&known.login, &pass).await.unwrap();
        assert_eq!(verdict, Verdict::WrongPass);
    }
    for login in [stranger(known), UserId::default()] {
        assert_eq!(authenticator.identify(&login).await.unwrap(), None);
        let verdict = authenticator.verify(&login, &known.pass).await.unwrap();
        assert_eq!(verdict, Verdict::NoSuchLogin);
    }
}

/// Some may be told that too much is asked.
async fn many_who_ask_at_once_are_not_mixed_up(authenticator: &impl Authenticator, known: &Known) {
    let wrong = Password::from(format!("{}2", known.pass.as_str()));
    let asked = (0..64).map(async |number| {
        let is_right = number % 2 == 0;
        let pass = if is_right { &known.pass } else { &wrong };
        match authenticator.verify(&known.login, pass).await {
            Ok(Verdict::Accepted(_)) => assert!(is_right, "a wrong password was accepted"),
            Ok(Verdict::WrongPass) => assert!(!is_right, "the right password was refused"),
            Err(AuthenticatorError::Busy) => {}
            other => panic!("neither right nor wrong: {other:?}"),
        }
    });
    join_all(asked).await;
}

async fn an_account_is_made_once_or_refused(authenticator: &impl Authenticator, known: &Known) {
    let login = stranger(known);
    let account = Register::new(login.as_str().to_owned(), "another secret", "Stranger");
    match authenticator.register(&account).await {
        Ok(()) => {
            let pass = Password::from("another secret");
            let identity = accepted(authenticator, &login, &pass).await;
            assert_eq!(identity.nick, "Stranger");
            let again = authenticator.register(&account).await;
            let is_taken = matches!(again, Err(RegisterError::LoginTaken));
            assert!(is_taken, "an account was made twice: {again:?}");
        }
        Err(RegisterError::Refused(why)) => {
            assert!(!why.is_empty(), "whoever is refused is told why");
            assert_eq!(authenticator.identify(&login).await.unwrap(), None);
        }
        Err(other) => panic!("neither made nor refused: {other:?}"),
    }
}

async fn nobody_registers_as_somebody_else(authenticator: &impl Authenticator, known: &Known) {
    let account = Register::new(
        known.login.as_str().to_owned(),
        "another secret",
        "Somebody Else",
    );
    assert!(authenticator.register(&account).await.is_err());
    let pass = Password::from("another secret");
    let verdict = authenticator.verify(&known.login, &pass).await.unwrap();
    assert_eq!(verdict, Verdict::WrongPass);
    accepted(authenticator, &known.login, &known.pass).await;
}

async fn an_engine_lets_its_users_in(authenticator: Arc<impl Authenticator>, known: &Known) {
    let engine = Engine::builder()
        .authenticator(authenticator)
        .build()
        .unwrap();
    let connection = engine.connect();
    let wrong = Auth::new(known.login.as_str().to_owned(), "");
    assert!(connection.call(wrong).await.is_err());
    let right = Auth::new(known.login.as_str().to_owned(), known.pass.clone());
    let session = connection.call(right).await.unwrap();
    assert_eq!(session.uid, known.login);
}
