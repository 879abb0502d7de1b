//! People talk.

use super::site::Site;
use super::webdriver::Driver;
use crate::support::Raw;
use tokio::net::TcpStream;

async fn tcp_client(site: &Site, login: &str) -> Raw {
    let mut client = Raw::new(TcpStream::connect(site.tcp()).await.unwrap());
    assert_eq!(client.frame().await["action"], "welcome");
    client.log_in(login).await;
    client
}

#[tokio::test]
async fn two_browsers_and_a_client_over_tcp_talk() {
    let site = Site::start().await;
    let driver = Driver::start().await;
    let (ann, bob) = (driver.browser().await, driver.browser().await);
    ann.sign_up(&site, "ann", "Ann").await;
    bob.sign_up(&site, "bob", "Bob").await;
    ann.befriend("bob").await;
    ann.write("Hello, Bob :-}").await;
    ann.sees("Hello, Bob :-}").await;

    bob.wait("document.querySelector('.count')?.textContent.startsWith('1')")
        .await;
    bob.wait("document.title.startsWith('(1)')").await;
    bob.read("Ann").await;
    bob.sees("Hello, Bob :-}").await;
    bob.wait("!document.querySelector('.count')").await;
    bob.write("Hello, Ann").await;
    ann.sees("Hello, Ann").await;

    let mut eve = tcp_client(&site, "eve").await;
    eve.send(r#"{"action":"message","data":{"uid":"ann","body":"over TCP"}}"#)
        .await;
    assert_eq!(eve.frame().await["data"]["status"], 0);
    assert_eq!(eve.frame().await["data"]["body"], "over TCP");
    ann.read("Nick eve").await;
    ann.sees("over TCP").await;
    ann.write("from a page").await;
    assert_eq!(eve.frame().await["data"]["body"], "from a page");

    // Everything is there again when the page is loaded anew, without a password.
    ann.reload().await;
    ann.read("Bob").await;
    ann.sees("Hello, Ann").await;
    assert_eq!(ann.texts().await, ["Hello, Bob :-}", "Hello, Ann"]);
    let kept = "JSON.stringify({ ...localStorage, ...sessionStorage })";
    let kept = ann.value(kept).await.to_string();
    assert!(kept.contains("sid") && !kept.contains("secret"), "{kept}");
    for browser in [&ann, &bob] {
        assert_eq!(browser.complaints().await, [""; 0]);
    }
}
