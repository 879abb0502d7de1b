//! The pictures of the documents. They are written anew when `WRITE_PICTURES` is set.

use super::site::Site;
use super::webdriver::{Browser, Driver};
use crate::support::Raw;
use serde_json::json;
use std::path::Path;

/// Keeps a picture of the page, as a PNG. The browser itself reads the base64 text, whose bytes are given back as numbers.
async fn keep(browser: &Browser, name: &str) {
    // No colour is on its way from light to dark.
    browser.value("Promise.allSettled(document.getAnimations().map((of) => of.finished)).then(() => true)").await;
    let picture = browser.picture().await;
    let bytes = format!("Array.from(atob({picture:?}), (char) => char.charCodeAt(0))");
    let bytes: Vec<u8> = serde_json::from_value(browser.value(&bytes).await).unwrap();
    assert!(bytes.starts_with(b"\x89PNG"));
    if std::env::var_os("WRITE_PICTURES").is_some() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

/// Somebody of this name, over TCP.
async fn person(site: &Site, login: &str, nick: &str) -> Raw {
    let register = json!({ "login": login, "nick": nick, "pass": "secret" });
    let register = json!({ "action": "register", "data": register });
    let mut raw = site.connect().await;
    raw.send(&register.to_string()).await;
    assert_eq!(raw.frame().await["data"]["status"], 0);
    raw.log_in(login).await;
    raw
}

/// A landscape, drawn by the browser, as base64 text of a PNG.
async fn landscape(browser: &Browser) -> String {
    let drawn = "(() => {
        const canvas = document.createElement('canvas');
        Object.assign(canvas, { width: 520, height: 260 });
        const draw = canvas.getContext('2d');
        const sky = draw.createLinearGradient(0, 0, 0, 260);
        [[0, '#2b4c8c'], [0.55, '#e8a87c'], [1, '#f6d8a8']].forEach(([at, colour]) => sky.addColorStop(at, colour));
        draw.fillStyle = sky;
        draw.fillRect(0, 0, 520, 260);
        draw.fillStyle = '#fff3d6';
        draw.beginPath();
        draw.arc(370, 128, 26, 0, 7);
        draw.fill();
        for (const [colour, base, height, width] of [['#5d5a86', 190, 60, 130], ['#3d4268', 215, 45, 90], ['#23284a', 240, 30, 60]]) {
            draw.fillStyle = colour;
            draw.beginPath();
            draw.moveTo(0, 260);
            for (let x = 0; x <= 520; x += 4) draw.lineTo(x, base - height * Math.abs(Math.sin(x / width + height)) + 5 * Math.sin(x / 9));
            draw.lineTo(520, 260);
            draw.fill();
        }
        return canvas.toDataURL('image/png').split(',')[1];
    })()";
    browser.value(drawn).await.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_page_looks_as_the_documents_show() {
    let site = Site::start().await;
    let driver = Driver::start().await;
    let browser = driver.browser().await;
    browser.sign_up(&site, "ann", "Ann Lee").await;
    let mut people = Vec::new();
    for (login, nick, text) in [
        ("mila", "Mila Novak", "The tickets are booked!"),
        ("omar", "Omar Haddad", "See you on Friday"),
        ("vera", "Вера", "С днём рождения!"),
    ] {
        let mut client = person(&site, login, nick).await;
        client.say("ann", text).await;
        people.push(client);
    }
    let mut bob = person(&site, "bob", "Bob Hansen").await;
    bob.say("ann", "Good morning! Did you get up there in time?")
        .await;
    browser.read("Bob Hansen").await;
    browser
        .write("Just in time. It was worth every step :-}")
        .await;
    browser
        .sees("Just in time. It was worth every step :-}")
        .await;
    let picture = landscape(&browser).await;
    bob.say_with(
        "ann",
        "Here is ours, from the other side",
        "image/png",
        &picture,
    )
    .await;
    bob.say_with(
        "ann",
        "And the way we took",
        "application/gpx+xml; name=\"ridge.gpx\"",
        "PGdweC8+",
    )
    .await;
    browser.sees("And the way we took").await;
    browser.write("Beautiful. Next time together?").await;
    browser.sees("Beautiful. Next time together?").await;
    browser
        .wait("document.querySelector('.message img').complete")
        .await;
    browser.value("document.activeElement.blur(), true").await;
    // No cursor, and no ring around the field.
    browser.screen(1100, 720).await;
    browser.colours("light").await;
    keep(&browser, "light.png").await;
    browser.colours("dark").await;
    keep(&browser, "dark.png").await;
    browser.screen(390, 760).await;
    browser
        .wait("document.querySelector('.history').scrollTop > 0")
        .await;
    browser.colours("light").await;
    keep(&browser, "phone.png").await;
}
