//! Accounts and profiles.

use super::{as_owner, create, race};
use crate::storage::{
    Account, Accounts, Address, CreateAccountError, Owner, ProfileChange, Storage, UserNumber,
};
use messenger_proto::UserId;
use std::sync::Arc;

fn accounts(storage: &Arc<dyn Storage>) -> &dyn Accounts {
    storage.accounts().expect("accounts")
}

fn account(login: &str, nick: &str) -> Account {
    Account {
        login: login.into(),
        nick: nick.into(),
        pass_hash: "hash".into(),
    }
}

pub(super) async fn an_account_is_found_by_its_login(storage: &Arc<dyn Storage>) {
    create(storage, "ann").await;
    let found = accounts(storage).account("ann").await.unwrap().unwrap();
    assert_eq!(found.login.as_str(), "ann");
    assert_eq!(found.nick, "nick of ann");
    assert_eq!(found.pass_hash, "hash of ann");
    assert_eq!(
        accounts(storage).account("Ann").await.unwrap(),
        None,
        "case matters"
    );
    assert_eq!(accounts(storage).account("bob").await.unwrap(), None);
}

pub(super) async fn login_and_nick_are_each_taken_once(storage: &Arc<dyn Storage>) {
    accounts(storage)
        .create_account(account("ann", "A"))
        .await
        .unwrap();
    let same_login = accounts(storage).create_account(account("ann", "B")).await;
    assert!(matches!(same_login, Err(CreateAccountError::LoginTaken)));
    let same_nick = accounts(storage).create_account(account("bob", "A")).await;
    assert!(matches!(same_nick, Err(CreateAccountError::NickTaken)));
    assert_eq!(
        accounts(storage).account("bob").await.unwrap(),
        None,
        "nothing was done"
    );
    // A refused account has not taken its nick.
    accounts(storage)
        .create_account(account("bob", "B"))
        .await
        .unwrap();
}

pub(super) async fn of_racing_registrations_one_succeeds(storage: &Arc<dyn Storage>) {
    let race = async |logins: &dyn Fn(usize) -> (String, String)| {
        let calls = (0..16).map(|number| {
            let (login, nick) = logins(number);
            let storage = Arc::clone(storage);
            async move {
                accounts(&storage)
                    .create_account(account(&login, &nick))
                    .await
            }
        });
        let results = race(calls.collect::<Vec<_>>()).await;
        results.into_iter().filter(Result::is_ok).count()
    };
    let one_login = race(&|number| ("ann".into(), format!("A{number}"))).await;
    assert_eq!(one_login, 1);
    let one_nick = race(&|number| (format!("user{number}"), "B".into())).await;
    assert_eq!(one_nick, 1);
}

pub(super) async fn may_have_to_look_different(storage: &Arc<dyn Storage>) {
    let distinct = async |login: &str, nick| {
        let account = account(login, nick);
        accounts(storage).create_distinct_account(account).await
    };
    distinct("paul", "A").await.unwrap();
    let same = distinct("paul", "B").await;
    assert!(matches!(same, Err(CreateAccountError::LoginTaken)));
    let nick = distinct("mary", "A").await;
    assert!(matches!(nick, Err(CreateAccountError::NickTaken)));
    // Neither the one with Cyrillic letters nor the one with a digit has taken its nick.
    for lookalike in ["раul", "pau1"] {
        let alike = distinct(lookalike, "B").await;
        assert!(
            matches!(alike, Err(CreateAccountError::Lookalike)),
            "{lookalike}"
        );
        assert_eq!(accounts(storage).account(lookalike).await.unwrap(), None);
    }
    distinct("mary", "B").await.unwrap();
    let eve = UserId::from("eve");
    storage.upsert_external_user(&eve, "Eve").await.unwrap();
    storage.upsert_external_user(&eve, "Eva").await.unwrap();
    let like_external = distinct("еve", "C").await;
    assert!(matches!(like_external, Err(CreateAccountError::Lookalike)));
    // Who does not ask for it may look like somebody, and counts as well.
    accounts(storage)
        .create_account(account("раul", "D"))
        .await
        .unwrap();
    for login in ["paul", "eve"] {
        assert!(storage.delete_user(&login.into()).await.unwrap());
    }
    let like_left = distinct("paul", "E").await;
    assert!(matches!(like_left, Err(CreateAccountError::Lookalike)));
    distinct("еve", "E").await.unwrap();
}

pub(super) async fn of_racing_lookalikes_one_succeeds(storage: &Arc<dyn Storage>) {
    let calls = ["paul", "раul", "pаul", "pau1", "pauI", "рaul"]
        .into_iter()
        .enumerate()
        .map(|(number, login)| {
            let account = account(login, &format!("nick {number}"));
            let storage = Arc::clone(storage);
            async move { accounts(&storage).create_distinct_account(account).await }
        });
    let results = race(calls.collect::<Vec<_>>()).await;
    let created = results.iter().filter(|result| result.is_ok());
    assert_eq!(created.count(), 1);
}

pub(super) async fn an_external_user_is_a_user(storage: &Arc<dyn Storage>) {
    let eve = UserId::from("eve");
    assert_eq!(storage.profile(&eve).await.unwrap(), None);
    storage.upsert_external_user(&eve, "Eve").await.unwrap();
    storage.upsert_external_user(&eve, "Eva").await.unwrap();
    let profile = storage.profile(&eve).await.unwrap().unwrap();
    assert_eq!(profile.nick, "Eva");
}

pub(super) async fn an_external_user_has_none(storage: &Arc<dyn Storage>) {
    let eve = UserId::from("eve");
    storage.upsert_external_user(&eve, "Eve").await.unwrap();
    assert_eq!(
        accounts(storage).account("eve").await.unwrap(),
        None,
        "has no password here"
    );
    let taken = accounts(storage).create_account(account("eve", "E")).await;
    assert!(matches!(taken, Err(CreateAccountError::LoginTaken)));
}

pub(super) async fn may_be_given_another_password(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    assert!(
        accounts(storage)
            .set_password(&ann, "new".into())
            .await
            .unwrap()
    );
    let account = accounts(storage).account("ann").await.unwrap().unwrap();
    assert_eq!(account.pass_hash, "new");
    let dan = "dan".into();
    storage.upsert_external_user(&dan, "Dan").await.unwrap();
    assert!(
        !accounts(storage)
            .set_password(&dan, "new".into())
            .await
            .unwrap()
    );
    assert_eq!(
        accounts(storage).account("dan").await.unwrap(),
        None,
        "not kept here"
    );
    assert!(
        !accounts(storage)
            .set_password(&"eve".into(), "new".into())
            .await
            .unwrap()
    );
}

pub(super) async fn are_deleted_with_their_users(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    assert!(storage.delete_user(&ann).await.unwrap());
    assert_eq!(accounts(storage).account("ann").await.unwrap(), None);
    // Login and nick are free again.
    create(storage, "ann").await;
}

pub(super) async fn a_profile_changes_where_told(storage: &Arc<dyn Storage>) {
    let ann = create(storage, "ann").await;
    let profile = storage.profile(&ann).await.unwrap().unwrap();
    assert_eq!(profile.nick, "nick of ann");
    assert!(profile.email.is_empty() && profile.phone.is_empty());
    let address = |text: &str| Address {
        text: text.to_owned().into(),
        key: Some(text.into()),
    };
    let change = ProfileChange {
        email: Some(address("a@b")),
        phone: Some(address("+1")),
        picture: Some("pic".into()),
        user_status: Some("here".into()),
    };
    storage
        .change_profile(&as_owner(storage, &ann).await, change)
        .await
        .unwrap();
    let change = ProfileChange {
        email: Some(Address::default()),
        ..ProfileChange::default()
    };
    storage
        .change_profile(&as_owner(storage, &ann).await, change)
        .await
        .unwrap();
    let profile = storage.profile(&ann).await.unwrap().unwrap();
    assert_eq!(profile.email, "", "cleared");
    assert_eq!(profile.phone, "+1", "absent stays");
    assert_eq!((&*profile.picture, &*profile.user_status), ("pic", "here"));
    let nobody = Owner {
        user: "nobody".into(),
        number: UserNumber::default(),
    };
    let change = ProfileChange::default();
    storage.change_profile(&nobody, change).await.unwrap();
    assert_eq!(storage.profile(&nobody.user).await.unwrap(), None);
}
