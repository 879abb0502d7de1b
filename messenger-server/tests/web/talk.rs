//! People talk.

use super::site::Site;
use super::webdriver::{Driver, ENTER};
use serde_json::json;

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

    let mut eve = site.client("eve").await;
    eve.say("ann", "over TCP").await;
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

#[tokio::test]
async fn who_sees_the_end_goes_on_seeing_it_when_the_telephone_is_turned() {
    let site = Site::start().await;
    let driver = Driver::start().await;
    let ann = driver.browser().await;
    ann.sign_up(&site, "ann", "Ann").await;
    let mut eve = site.client("eve").await;
    let long = |n| format!("{n}{}", " word".repeat(n));
    let many = async {
        for n in 1..=60 {
            eve.say("ann", &long(n)).await;
        }
    };
    // Also what comes while the conversation is opened is shown.
    tokio::join!(ann.read("Nick eve"), many);
    ann.sees(&long(60)).await;
    let below = "((of) => of.scrollHeight - of.scrollTop - of.clientHeight)(document.querySelector('.history'))";
    for (width, height) in [(360, 740), (740, 360), (360, 740), (360, 400)] {
        ann.screen(width, height).await;
        // Where the end is seen nothing leads there.
        ann.wait(&format!("innerWidth === {width} && innerHeight === {height} && {below} < 2 && document.querySelector('.down').hidden"))
            .await;
    }
    // Who scrolls up stays there, whatever comes. (For a moment after a turn the page takes that for the browser's doing.)
    let up = format!(
        "(document.querySelector('.history').scrollTop -= 50, {below} > 300 && !document.querySelector('.down').hidden)"
    );
    ann.wait(&up).await;
    eve.say("ann", "meanwhile").await;
    ann.wait("document.querySelector('.down').innerText.includes('1 new message')")
        .await;
    ann.wait(&format!("{below} > 300")).await;
}

#[tokio::test]
async fn a_click_counts_also_when_a_message_comes_meanwhile() {
    let site = Site::start().await;
    let driver = Driver::start().await;
    let ann = driver.browser().await;
    ann.sign_up(&site, "ann", "Ann").await;
    let mut eve = site.client("eve").await;
    eve.say("ann", "before").await;
    let last = "document.querySelector('.people .last')";
    ann.wait(&format!("{last}?.textContent === 'before'")).await;
    let place = ann
        .value("(({ x, y }) => ({ x: x + 20, y: y + 20 }))(document.querySelector('.people button').getBoundingClientRect())")
        .await;
    for (what, meanwhile) in [("mousePressed", true), ("mouseReleased", false)] {
        let stroke = json!({ "type": what, "x": place["x"], "y": place["y"], "button": "left", "clickCount": 1 });
        ann.devtools("Input.dispatchMouseEvent", stroke).await;
        if meanwhile {
            eve.say("ann", "meanwhile").await;
            ann.wait(&format!("{last}.textContent === 'meanwhile'"))
                .await;
        }
    }
    ann.sees("meanwhile").await;
}

#[tokio::test]
async fn a_half_written_message_is_there_after_the_page_is_loaded_anew() {
    let site = Site::start().await;
    let driver = Driver::start().await;
    let ann = driver.browser().await;
    ann.sign_up(&site, "ann", "Ann").await;
    for login in ["bob", "eve"] {
        site.client(login).await.say("ann", "hello").await;
    }
    ann.read("Nick bob").await;
    ann.fill(".composer textarea", "half").await;
    ann.reload().await;
    ann.read("Nick eve").await;
    let draft = "document.querySelector('.composer textarea').value";
    assert_eq!(ann.value(draft).await, "");
    ann.read("Nick bob").await;
    ann.wait(&format!(
        "{draft} === 'half' && document.activeElement.localName === 'textarea'"
    ))
    .await;
    ann.keys(ENTER).await;
    ann.sees("half").await;
    ann.reload().await;
    ann.read("Nick bob").await;
    assert_eq!(ann.value(draft).await, "");
}
