//! An address book, as telephones write it.

use super::site::Site;
use super::webdriver::Driver;

const BOOK: &str = "BEGIN:VCARD\r\nVERSION:2.1\r\nN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=D0=98=D0=B2=D0=\r\n=B0=D0=BD;;;;\r\nTEL;CELL;PREF:8 (916) 123-45-67\r\nPHOTO;ENCODING=BASE64;JPEG:/9j/4AAQ\r\n SkZJRg\r\n\r\nEND:VCARD\r\n\
BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Bob\r\nitem1.TEL;type=CELL:+1 202-555-\r\n 0101\r\nitem1.X-ABLabel:_$!<Mobile>!$_\r\nEND:VCARD\r\n\
BEGIN:VCARD\nVERSION:4.0\nFN:Carol\nTEL;VALUE=uri;TYPE=\"voice,home\":tel:+44-20-7946-0018\nEMAIL:carol@example.org\nEND:VCARD\n\
BEGIN:VCARD\nVERSION:3.0\nFN:Dave;\nTEL\n;;;\nEMAIL;TYPE=INTERNET:dave@exa\n mple.org\nEND:VCARD\n\
BEGIN:VCARD\nVERSION:3.0\nFN:Nobody\nTEL:+49 30 901820\nEND:VCARD\n";

#[tokio::test]
async fn people_of_an_address_book_are_found_and_added() {
    let site = Site::start().await;
    let driver = Driver::start().await;
    let ann = driver.browser().await;
    ann.sign_up(&site, "ann", "Ann").await;
    for (login, field, value) in [
        ("ivan", "phone", "+7 916 123-45-67"),
        ("bob", "phone", "+12025550101"),
        ("carol", "phone", "+44 20 7946 0018"),
        ("dave", "email", "dave@example.org"),
        ("eve", "phone", "+7 495 000-00-00"),
    ] {
        let mut client = site.client(login).await;
        client
            .send(&format!(
                r#"{{"action":"setuserinfo","data":{{"{field}":"{value}"}}}}"#
            ))
            .await;
        assert_eq!(client.frame().await["data"]["status"], 0);
    }
    ann.click(".side header button:last-child").await;
    ann.fill(
        "dialog [type=file]",
        &site.file("book.vcf", BOOK.as_bytes()),
    )
    .await;
    ann.wait("document.querySelectorAll('.found li').length === 4")
        .await;
    ann.click("dialog .result .primary").await;
    ann.wait("document.querySelectorAll('.people .nick').length === 4")
        .await;
    let names =
        "[...document.querySelectorAll('.people .nick')].map((nick) => nick.textContent).sort()";
    let found = serde_json::json!(["Nick bob", "Nick carol", "Nick dave", "Nick ivan"]);
    assert_eq!(ann.value(names).await, found);
    ann.fill(
        "dialog [type=file]",
        &site.file("none.vcf", b"no card at all"),
    )
    .await;
    ann.wait("document.querySelector('.result').textContent.includes('no contact')")
        .await;
    assert_eq!(ann.complaints().await, [""; 0]);
}
