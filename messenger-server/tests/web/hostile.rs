//! Messages that are meant to break the page.

use super::site::Site;
use super::webdriver::{Driver, ENTER};

#[tokio::test]
async fn hostile_messages_stay_text() {
    let site = Site::start().await;
    let driver = Driver::start().await;
    let ann = driver.browser().await;
    ann.sign_up(&site, "ann", "Ann").await;
    let mut eve = site.client("<img src=x onerror=hurt()>").await;
    let long = "W".repeat(64 * 1024);
    let lines = (1..=5_000)
        .map(|line| format!("line {line}\n"))
        .collect::<String>();
    let bodies = [
        "<script>window.hurt = 1</script><img src=x onerror='window.hurt = 1'>",
        "}{\"action\":\"ev_message\"}{",
        "\u{202e}reversed \u{2066} شكرا לילה טוב",
        "__proto__ constructor ${hurt} {{hurt}}",
        &long,
        &lines,
        "the last",
    ];
    for body in bodies {
        eve.say("ann", body).await;
    }
    ann.read("Nick <img src=x onerror=hurt()>").await;
    ann.sees("the last").await;

    // Long ones are collapsed, and whole when somebody wants them.
    assert!(ann.texts().await.iter().all(|text| text.len() < 2_000));
    ann.value("document.querySelectorAll('.message button[aria-expanded=false]').forEach((button) => button.click())").await;
    assert_eq!(ann.texts().await, bodies);
    let overflow = "[document.documentElement.scrollWidth - innerWidth, ...[...document.querySelectorAll('.history')].map((of) => of.scrollWidth - of.clientWidth)]";
    assert_eq!(ann.value(overflow).await, serde_json::json!([0, 0]));
    // A message that is written from right to left turns round nothing but itself.
    let dir = "getComputedStyle([...document.querySelectorAll('.text')].at(-1)).direction";
    assert_eq!(ann.value(dir).await, "ltr");
    assert_eq!(
        ann.value("window.hurt ?? null").await,
        serde_json::Value::Null
    );
    assert_eq!(
        ann.value("document.querySelectorAll('.message img, .message script').length")
            .await,
        0
    );
    assert_eq!(ann.complaints().await, [""; 0]);
}

#[tokio::test]
async fn a_long_name_and_piled_accents_spoil_nothing_of_others() {
    let site = Site::start().await;
    let driver = Driver::start().await;
    let ann = driver.browser().await;
    ann.sign_up(&site, "ann", "Ann").await;
    ann.screen(360, 740).await;
    let login = "W".repeat(59);
    let mut eve = site.client(&login).await;
    eve.say("ann", &format!("e{}", "\u{300}".repeat(1_000)))
        .await;
    eve.say("ann", "the last").await;
    ann.read(&format!("Nick {login}")).await;
    ann.sees("the last").await;
    let fits = "[...document.querySelectorAll('.who h2, .history, .composer')].every((of) => of.getBoundingClientRect().right <= 360)";
    ann.wait(fits).await;
    let beyond = "getComputedStyle(document.querySelector('.bubble')).overflowY";
    assert_eq!(ann.value(beyond).await, "clip");
}

#[tokio::test]
async fn a_message_in_which_nothing_is_to_be_seen_says_so() {
    let site = Site::start().await;
    let driver = Driver::start().await;
    let ann = driver.browser().await;
    ann.sign_up(&site, "ann", "Ann").await;
    let mut eve = site.client("eve").await;
    let hint = "A message in which nothing is to be seen";
    let invisible = [
        "\u{200b}",
        "\u{2060}\u{feff}",
        "\u{200f}",
        "\u{3164}",
        "\u{2800}",
        " \n\t",
    ];
    for body in invisible {
        eve.say("ann", body).await;
    }
    let last = "document.querySelector('.people .last').innerText";
    ann.wait(&format!("{last} === {hint:?}")).await;
    eve.say("ann", "\u{200f}.").await;
    ann.read("Nick eve").await;
    ann.sees("\u{200f}.").await;
    let hints = "[...document.querySelectorAll('.message .hint')].map((hint) => hint.innerText)";
    let hints = ann.value(hints).await;
    assert_eq!(hints, serde_json::json!(vec![hint; invisible.len()]));
    // Nobody sends such a one by mistake.
    ann.write("\u{200b}").await;
    ann.fill(".composer textarea", "hello").await;
    ann.keys(ENTER).await;
    ann.sees("\u{200b}hello").await;

    ann.value("localStorage.setItem('messenger.language', 'ru')")
        .await;
    ann.reload().await;
    ann.read("Nick eve").await;
    ann.wait("document.querySelector('.message .hint').innerText === 'Сообщение, в котором ничего не видно'")
        .await;
}
