//! The page without a mouse, and without eyes.

use super::site::Site;
use super::webdriver::{Browser, DOWN, Driver, ENTER, ESCAPE, TAB};
use serde_json::{Value, json};
use std::path::Path;

/// Looks for what keeps people out, in light and in dark.
async fn examine(browser: &Browser, view: &str) {
    let target = Path::new(env!("CARGO_BIN_EXE_messenger-server"))
        .ancestors()
        .nth(2)
        .unwrap();
    let axe = target.join("axe/node_modules/axe-core/axe.min.js");
    let axe = std::fs::read_to_string(&axe).unwrap_or_else(|_| {
        panic!(
            "no {}: scripts/test says how axe-core comes there",
            axe.display()
        )
    });
    for scheme in ["light", "dark"] {
        browser.colours(scheme).await;
        let found = format!(
            "(async () => {{
                await Promise.allSettled(document.getAnimations().map((of) => of.finished));
                if (!window.axe) {{ {axe} }}
                const {{ violations }} = await axe.run(document);
                return violations.map(({{ id, nodes }}) => [id, ...nodes.map((node) => node.html + node.failureSummary)]);
            }})()"
        );
        assert_eq!(browser.value(&found).await, json!([]), "{view}, {scheme}");
    }
    browser.colours("light").await;
}

#[tokio::test]
async fn axe_finds_nothing_in_any_view() {
    let site = Site::start().await;
    let driver = Driver::start().await;
    let ann = driver.browser().await;
    ann.open(&site.url()).await;
    ann.wait("document.querySelector('.login form')").await;
    examine(&ann, "log in").await;
    ann.click(".login form .link").await;
    examine(&ann, "register").await;
    ann.sign_up(&site, "ann", "Ann").await;
    examine(&ann, "nobody yet").await;

    let mut eve = site.client("eve").await;
    eve.say("ann", &"many lines\n".repeat(60)).await;
    eve.say_with("ann", "", "application/pdf; name=\"a.pdf\"", "QUJD")
        .await;
    ann.wait("document.querySelector('.count')").await;
    examine(&ann, "unread").await;
    ann.read("Nick eve").await;
    ann.write("an answer").await;
    ann.sees("an answer").await;
    examine(&ann, "conversation").await;
    ann.click(".who").await;
    ann.wait("document.querySelector('dialog dl')").await;
    examine(&ann, "person").await;
    ann.keys(ESCAPE).await;
    ann.click(".side header .own").await;
    ann.wait("document.querySelector('dialog form')").await;
    examine(&ann, "profile").await;
    ann.keys(ESCAPE).await;
    ann.click(".side header button:last-child").await;
    ann.wait("document.querySelector('dialog .result')").await;
    examine(&ann, "import").await;
    ann.keys(ESCAPE).await;
    ann.screen(390, 780).await;
    examine(&ann, "conversation on a telephone").await;
    ann.click(".back").await;
    examine(&ann, "people on a telephone").await;
    site.kill().await;
    ann.wait("document.querySelector('.connection').innerText.includes('No connection')")
        .await;
    examine(&ann, "without a connection").await;
}

async fn focus(browser: &Browser) -> Value {
    browser
        .value("document.activeElement.textContent || document.activeElement.type")
        .await
}

#[tokio::test]
async fn a_keyboard_is_enough() {
    let site = Site::start().await;
    let driver = Driver::start().await;
    let ann = driver.browser().await;
    ann.sign_up(&site, "ann", "Ann").await;
    let mut eve = site.client("eve").await;
    eve.say("ann", "hello").await;
    ann.wait("document.querySelector('.count')").await;
    let is_search = "document.activeElement.type === 'search'";
    for _ in 0..9 {
        if ann.value(is_search).await == true {
            break;
        }
        ann.keys(TAB).await;
    }
    assert_eq!(focus(&ann).await, "search");
    ann.keys(DOWN).await;
    assert!(focus(&ann).await.as_str().unwrap().contains("Nick eve"));
    ann.keys(ENTER).await;
    ann.wait("document.activeElement.localName === 'textarea'")
        .await;
    ann.keys("by keyboard").await;
    ann.keys(ENTER).await;
    ann.sees("by keyboard").await;
    // A message that comes is read out.
    eve.say("ann", "read out").await;
    ann.wait("document.querySelector('[aria-live=polite][role=log]').textContent.includes('Nick eve: read out')").await;
    ann.keys(ESCAPE).await;
    ann.wait("document.activeElement.textContent.includes('Nick eve')")
        .await;
    // Somebody new is two strokes away: one finds them, one writes.
    site.client("bob").await;
    ann.fill("[type=search]", "bob").await;
    ann.keys(ENTER).await;
    ann.wait("document.querySelector('dialog[open]')?.contains(document.activeElement)")
        .await;
    ann.keys(ENTER).await;
    ann.wait("document.querySelector('.who h2')?.textContent === 'Nick bob'")
        .await;
}

#[tokio::test]
async fn the_page_speaks_russian() {
    let site = Site::start().await;
    let driver = Driver::start().await;
    let ann = driver.browser().await;
    ann.open(&site.url()).await;
    ann.wait("document.documentElement.lang === 'en' && document.querySelector('.login')")
        .await;
    let choose = "(() => { const select = document.querySelector('#language'); select.value = 'ru'; select.dispatchEvent(new Event('change')); return true; })()";
    ann.value(choose).await;
    ann.wait("document.documentElement.lang === 'ru' && document.body.innerText.includes('Войти')")
        .await;
    ann.fill("[name=login]", "nobody").await;
    ann.fill("[name=pass]", "secret").await;
    ann.keys(ENTER).await;
    ann.wait("document.querySelector('.failure').textContent === 'Такого логина нет.'")
        .await;
    // A refusal that only the server can explain says in Russian what it is about.
    ann.click(".login form .link").await;
    ann.fill("[name=login]", "\u{200b} ").await;
    ann.fill("[name=nick]", " Аня ").await;
    ann.keys(ENTER).await;
    ann.wait("document.querySelector('.failure').textContent.startsWith('Такой логин или такое имя не подходит')")
        .await;
    ann.wait("document.querySelector('[name=nick]').value === 'Аня'")
        .await;
}
