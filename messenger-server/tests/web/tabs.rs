//! Two tabs of one browser.

use super::site::Site;
use super::webdriver::Driver;

#[tokio::test]
async fn two_tabs_show_the_same_and_nothing_twice() {
    let site = Site::start().await;
    let driver = Driver::start().await;
    let browser = driver.browser().await;
    browser.sign_up(&site, "ann", "Ann").await;
    let mut eve = site.client("eve").await;
    eve.say("ann", "one").await;
    browser.read("Nick eve").await;
    let first = browser.new_tab().await;
    browser.open(&site.url()).await;
    browser.read("Nick eve").await;

    eve.say("ann", "two").await;
    browser.sees("two").await;
    browser.write("from the second tab").await;
    browser.sees("from the second tab").await;
    assert_eq!(browser.texts().await, ["one", "two", "from the second tab"]);
    assert_eq!(eve.frame().await["data"]["body"], "from the second tab");

    let second = browser.switch(&first).await;
    browser.sees("from the second tab").await;
    browser.write("from the first").await;
    browser.sees("from the first").await;
    assert_eq!(eve.frame().await["data"]["body"], "from the first");
    let all = ["one", "two", "from the second tab", "from the first"];
    assert_eq!(browser.texts().await, all);
    let first = browser.switch(&second).await;
    browser.sees("from the first").await;
    assert_eq!(browser.texts().await, all);
    // What both tabs have been given is kept once.
    browser.reload().await;
    browser.read("Nick eve").await;
    browser.sees("from the first").await;
    assert_eq!(browser.texts().await, all);

    // Who logs out in one tab is logged out in the other.
    browser.devtools("Page.enable", serde_json::json!({})).await;
    browser.value("window.confirm = () => true, true").await;
    browser.click(".side header .own").await;
    browser.click("dialog .danger").await;
    browser
        .wait("document.querySelector('.login') !== null")
        .await;
    browser.switch(&first).await;
    browser
        .wait("document.querySelector('.login') !== null")
        .await;
    let left = "Promise.all([indexedDB.databases(), localStorage.getItem('messenger.session')])";
    assert_eq!(browser.value(left).await, serde_json::json!([[], null]));
}
