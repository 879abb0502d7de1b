//! Which limits hold for all nodes together, and which are a node's own.

use crate::cluster::{Cluster, Node};
use messenger_client::proto::{ErrorCode, ImportEntry, Password};
use messenger_client::{ClientError, connect};

/// The code of a refusal; `None` for a success.
fn code<T>(answer: Result<T, ClientError>) -> Option<ErrorCode> {
    match answer {
        Ok(_) => None,
        Err(ClientError::Refused(failure)) => Some(failure.code),
        Err(error) => panic!("{error}"),
    }
}

async fn auth(node: &Node, login: &str, pass: &str) -> Option<ErrorCode> {
    let (client, _events) = connect(&node.process.address).await.unwrap();
    code(client.auth(login, &Password::md5_of(pass)).await.map(drop))
}

async fn register(node: &Node, login: &str) -> Option<ErrorCode> {
    let (client, _events) = connect(&node.process.address).await.unwrap();
    let pass = Password::md5_of("secret");
    code(client.register(login, &pass, login).await)
}

/// The first failure is the only one in a minute.
#[tokio::test(flavor = "multi_thread")]
async fn failed_log_ins_are_counted_for_all_nodes() {
    let cluster = Cluster::start_with(&["--max-failed-auth", "1"]).await;
    let [one, two] = &cluster.nodes[..] else {
        panic!("two nodes");
    };
    assert_eq!(register(one, "ann").await, None);
    assert_eq!(
        auth(one, "ann", "guess").await,
        Some(ErrorCode::InvalidPass)
    );
    for node in [two, one] {
        let refused = auth(node, "ann", "another guess").await;
        assert_eq!(refused, Some(ErrorCode::TooManyRequests));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_are_counted_for_all_nodes() {
    let cluster = Cluster::start_with(&["--max-import-day", "10"]).await;
    let (here, there) = (
        cluster.nodes[0].join("ann").await,
        cluster.nodes[1].join("ann").await,
    );
    let book = |entries| vec![ImportEntry::default(); entries];
    assert_eq!(code(here.client.import(book(6)).await), None);
    let too_many = Some(ErrorCode::TooManyRequests);
    assert_eq!(code(there.client.import(book(6)).await), too_many);
    assert_eq!(code(there.client.import(book(4)).await), None);
    assert_eq!(code(here.client.import(book(1)).await), too_many);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_counted_by_each_node() {
    let flags = ["--max-registrations", "1", "--exempt-loopback", "off"];
    let cluster = Cluster::start_with(&flags).await;
    let [one, two] = &cluster.nodes[..] else {
        panic!("two nodes");
    };
    assert_eq!(register(one, "ann").await, None);
    assert_eq!(register(two, "bob").await, None);
    for node in [one, two] {
        let refused = register(node, "eve").await;
        assert_eq!(refused, Some(ErrorCode::TooManyRequests));
    }
}
