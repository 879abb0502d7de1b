//! A server that goes away and comes back.

use super::site::Site;
use super::webdriver::{Driver, ENTER};

#[tokio::test]
async fn what_was_written_while_the_server_was_killed_arrives_once() {
    let site = Site::start().await;
    let driver = Driver::start().await;
    let (ann, bob) = (driver.browser().await, driver.browser().await);
    ann.sign_up(&site, "ann", "Ann").await;
    bob.sign_up(&site, "bob", "Bob").await;
    ann.befriend("bob").await;
    ann.write("before").await;
    bob.read("Ann").await;
    bob.sees("before").await;

    let down = site.kill().await;
    ann.wait("document.querySelector('.connection').innerText.includes('No connection')")
        .await;
    ann.write("meanwhile").await;
    ann.wait("document.querySelector('.pending')").await;
    let site = down.up().await;
    // It waits in the browser, not in the page.
    ann.reload().await;
    ann.read("Bob").await;
    ann.sees("meanwhile").await;
    ann.wait("document.querySelector('.connection').hidden")
        .await;
    bob.sees("meanwhile").await;
    bob.write("after").await;
    ann.sees("after").await;
    for browser in [&ann, &bob] {
        assert_eq!(browser.texts().await, ["before", "meanwhile", "after"]);
    }
    drop(site);
}

#[tokio::test]
async fn a_session_that_was_ended_says_so_and_keeps_what_was_there() {
    let site = Site::start().await;
    let driver = Driver::start().await;
    let ann = driver.browser().await;
    ann.sign_up(&site, "ann", "Ann").await;
    let mut eve = site.client("eve").await;
    eve.say("ann", "kept").await;
    ann.read("Nick eve").await;
    ann.sees("kept").await;

    site.end_sessions("ann").await;
    ann.wait("document.querySelector('.login .notice')?.textContent.includes('session has ended')")
        .await;
    ann.log_in("ann").await;
    eve.say("ann", "new").await;
    ann.read("Nick eve").await;
    ann.sees("new").await;
    assert_eq!(ann.texts().await, ["kept", "new"]);
}

#[tokio::test]
async fn what_waits_for_somebody_new_is_in_the_list_under_their_name() {
    let site = Site::start().await;
    let driver = Driver::start().await;
    let ann = driver.browser().await;
    ann.sign_up(&site, "ann", "Ann").await;
    site.client("bob").await;
    ann.fill("[type=search]", "bob").await;
    ann.keys(ENTER).await;
    ann.click("dialog footer .primary").await;
    ann.wait("document.querySelector('.conversation textarea')")
        .await;

    let down = site.kill().await;
    ann.write("first words").await;
    ann.wait("document.querySelector('.people').innerText.includes('Not sent yet')")
        .await;
    ann.read("Nick bob").await;
    let site = down.up().await;
    ann.sees("first words").await;
    ann.reload().await;
    ann.read("Nick bob").await;
    ann.sees("first words").await;
    drop(site);
}
