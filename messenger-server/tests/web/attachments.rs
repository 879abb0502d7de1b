//! Files between people.

use super::site::Site;
use super::webdriver::Driver;
use serde_json::json;

/// One red pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
/// `<svg xmlns="http://www.w3.org/2000/svg" onload="opener.hurt=1"><script>top.hurt=1</script></svg>`
const SVG: &str = "PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciIG9ubG9hZD0ib3BlbmVyLmh1cnQ9MSI+PHNjcmlwdD50b3AuaHVydD0xPC9zY3JpcHQ+PC9zdmc+";
/// `<script>top.hurt=1</script>`
const HTML: &str = "PHNjcmlwdD50b3AuaHVydD0xPC9zY3JpcHQ+";

#[tokio::test]
async fn a_picture_arrives_as_a_picture_and_everything_else_as_a_download() {
    let site = Site::start().await;
    let driver = Driver::start().await;
    let ann = driver.browser().await;
    ann.sign_up(&site, "ann", "Ann").await;
    let mut eve = site.client("eve").await;
    // A picture is what begins as one, whatever it calls itself.
    eve.say_with("ann", "picture", "text/html", PNG).await;
    eve.say_with("ann", "svg", "image/svg+xml", SVG).await;
    eve.say_with("ann", "html", "text/html; name=\"../a.html\"", HTML)
        .await;
    eve.say_with("ann", "false", "image/png", HTML).await;
    eve.say_with("ann", "torn", "image/png", "%%%").await;
    eve.say_with("ann", "text", "text/plain", HTML).await;
    // It has the first bytes of a PNG, and nothing behind them.
    eve.say_with("ann", "broken", "image/png", "iVBORw0KGgo=")
        .await;
    ann.read("Nick eve").await;
    ann.sees("broken").await;
    ann.wait("document.querySelector('.message img')?.naturalWidth === 1")
        .await;
    ann.wait("document.querySelectorAll('.message a.file').length === 6")
        .await;
    let downloads =
        "[...document.querySelectorAll('.message a.file')].map((link) => link.download)";
    let names = json!([
        "file.svg",
        ".._a.html",
        "file.png",
        "file.png",
        "file.txt",
        "file.png"
    ]);
    assert_eq!(ann.value(downloads).await, names);
    // Whoever opens one in a tab all the same gets bytes, which no browser runs.
    let kinds = "Promise.all([...document.querySelectorAll('.message a')].map(async (link) => { const pick = await import('/v/x/store.js'); return (await (await pick.openStore('ann')).page('eve', 9)).map((message) => message.attach.blob.type); })).then((all) => all[0])";
    let bytes = "application/octet-stream";
    assert_eq!(
        ann.value(kinds).await,
        json!(["image/png", bytes, bytes, bytes, bytes, bytes, "image/png"])
    );
    assert_eq!(ann.value("window.hurt ?? null").await, json!(null));
}

#[tokio::test]
async fn files_are_chosen_dropped_and_pasted() {
    let site = Site::start().await;
    let driver = Driver::start().await;
    let ann = driver.browser().await;
    ann.sign_up(&site, "ann", "Ann").await;
    let mut eve = site.client("eve").await;
    eve.say("ann", "hello").await;
    ann.read("Nick eve").await;

    let chosen = site.file("a report.pdf", &vec![7; 3 << 20]);
    ann.fill(".composer [type=file]", &chosen).await;
    ann.wait("document.querySelector('.staged li')").await;
    ann.write("chosen").await;
    ann.sees("chosen").await;
    let attach = eve.frame().await["data"]["attach"].take();
    assert_eq!(attach["mime"], "application/pdf; name=\"a report.pdf\"");
    assert_eq!(attach["data"].as_str().unwrap().len(), 4 << 20);

    for (event, kind, field) in [
        ("drop", "DragEvent", "dataTransfer"),
        ("paste", "ClipboardEvent", "clipboardData"),
    ] {
        let given = format!(
            "(() => {{
                const data = new DataTransfer();
                const bytes = Uint8Array.from(atob({PNG:?}), (char) => char.charCodeAt(0));
                data.items.add(new File([bytes], 'red.png', {{ type: 'image/png' }}));
                const event = new {kind}({event:?}, {{ {field}: data, bubbles: true, cancelable: true }});
                return document.querySelector('.composer textarea').dispatchEvent(event) === false;
            }})()"
        );
        assert_eq!(ann.value(&given).await, true, "{event}");
        ann.wait("document.querySelector('.staged li')").await;
        ann.write(event).await;
        ann.sees(event).await;
        let attach = eve.frame().await["data"]["attach"].take();
        assert_eq!(attach, json!({ "mime": "image/png", "data": PNG }));
    }
    ann.wait("document.querySelectorAll('.message img').length === 2")
        .await;

    // What is too large is refused in words, and nothing is sent.
    let large = site.file("large.bin", &vec![0; 13 << 20]);
    ann.fill(".composer [type=file]", &large).await;
    ann.wait("document.querySelector('.toasts')?.textContent.includes('large.bin is too large')")
        .await;
    assert_eq!(
        ann.value("document.querySelector('.staged').hidden").await,
        true
    );
}

#[tokio::test]
async fn a_picture_of_the_own_profile_is_seen_by_others() {
    let site = Site::start().await;
    let driver = Driver::start().await;
    let ann = driver.browser().await;
    ann.sign_up(&site, "ann", "Ann").await;
    let made = "new Promise((resolve) => { const canvas = document.createElement('canvas'); canvas.width = 800; canvas.height = 600; canvas.getContext('2d').fillRect(0, 0, 9, 9); resolve(canvas.toDataURL().split(',')[1]); })";
    let picture = ann.value(made).await;
    let bytes = base64(picture.as_str().unwrap());
    let file = site.file("me.png", &bytes);
    ann.click(".side header .own").await;
    ann.fill("dialog [type=file]", &file).await;
    ann.wait("document.querySelector('dialog .avatar img')?.naturalWidth === 256")
        .await;
    ann.fill("dialog [type=tel]", "+7 916 123-45-67").await;
    ann.click("dialog .primary").await;
    ann.wait("document.querySelector('.side .own img')?.naturalWidth === 256")
        .await;

    let mut eve = site.client("eve").await;
    eve.send(r#"{"action":"userinfo","data":{"user":"ann"}}"#)
        .await;
    let info = eve.frame().await;
    assert_eq!(info["data"]["phone"], "+7 916 123-45-67");
    // A JPEG, and a small one.
    let picture = info["data"]["picture"].as_str().unwrap();
    assert!(picture.starts_with("/9j/") && picture.len() < 64 * 1024);
}

/// What base64 text stands for.
fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<_> = text.trim_end_matches('=').bytes().map(digit).collect();
    let bytes = digits.chunks(4).flat_map(|four| {
        let number = four
            .iter()
            .fold(0u32, |number, digit| (number << 6) | u32::from(*digit));
        let number = number << (6 * (4 - four.len()));
        number
            .to_be_bytes()
            .into_iter()
            .skip(1)
            .take(four.len() - 1)
    });
    bytes.collect()
}
