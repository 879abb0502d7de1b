//! Each fault is found by the rule that is broken by it.

use crate::kit;
use crate::proxy::{Fault, spoilt};
use messenger_core::Policy;
use serde_json::Value;

/// A server without a fault, behind the same proxy.
#[tokio::test]
async fn the_proxy_alone_is_no_fault() {
    let address = spoilt(Fault::default()).await.to_string();
    let (found, code) = kit(&["--patience", "60", "--addr", &address]).await;
    crate::all_kept(&found);
    assert_eq!(code, Some(0));
}

/// The rule is broken, and what came is the fault.
async fn found(rule: &str, fault: Fault, got: &str) {
    let address = spoilt(fault).await.to_string();
    // What does not come at all shows sooner so, and a rule that is kept cannot be expected here.
    let patience = if got.starts_with("nothing") {
        "2"
    } else {
        "60"
    };
    let arguments = ["--patience", patience, "--addr", &address, "--rule", rule];
    let (found, code) = kit(&arguments).await;
    assert_eq!(code, Some(1));
    let broken = found.iter().find(|outcome| outcome["rule"] == rule);
    let found = broken.unwrap()["fault"]["got"].as_str().unwrap();
    assert!(found.contains(got), "{found}");
}

/// The same with a server that writes its frames so.
async fn found_in_frames(rule: &str, frame: fn(&mut Vec<String>, String) -> Vec<u8>, got: &str) {
    let fault = Fault {
        frame,
        ..Fault::default()
    };
    found(rule, fault, got).await;
}

/// The same with a server that understands requests so.
async fn found_in_requests(rule: &str, request: fn(String) -> String, got: &str) {
    let request = Some(request);
    let fault = Fault {
        request,
        ..Fault::default()
    };
    found(rule, fault, got).await;
}

/// The same with a server that has other rules.
async fn found_in_policy(rule: &str, policy: fn(&mut Policy), got: &str) {
    let fault = Fault {
        policy,
        ..Fault::default()
    };
    found(rule, fault, got).await;
}

/// The frame with one thing in it replaced, if it is there.
fn replaced(frame: &str, from: &str, to: &str) -> Vec<u8> {
    frame.replacen(from, to, 1).into_bytes()
}

/// The second of the frames that have this in them with one thing replaced; all others as they are.
fn second(kept: &mut Vec<String>, frame: &str, of: &str, (from, to): (&str, &str)) -> Vec<u8> {
    if frame.contains(of) {
        kept.push(frame.to_owned());
    }
    match kept.len() {
        2 => replaced(frame, from, to),
        _ => frame.as_bytes().to_vec(),
    }
}

fn is_event(frame: &str) -> bool {
    frame.starts_with(r#"{"action":"ev_message""#)
}

fn is_copy(frame: &str) -> bool {
    is_event(frame) && !frame.contains(r#""seq":"#)
}

/// A frame that satisfies this is held back until the next has been given.
fn behind_the_next(kept: &mut Vec<String>, frame: String, held: fn(&str) -> bool) -> Vec<u8> {
    if held(&frame) {
        kept.push(frame);
        return Vec::new();
    }
    let late: String = kept.drain(..).collect();
    (frame + &late).into_bytes()
}

macro_rules! faults {
    ($($name:ident: $how:ident($rule:literal, $spoils:expr, $got:literal);)*) => {
        $(#[tokio::test]
        async fn $name() {
            $how($rule, $spoils, $got).await;
        })*
    };
}

faults! {
    // What the server writes.
    no_welcome: found_in_frames("connecting/welcome", |_, frame| {
        if frame.contains("welcome") { Vec::new() } else { frame.into_bytes() }
    }, "nothing");
    a_welcome_with_data: found_in_frames("connecting/welcome", |_, frame| {
        replaced(&frame, r#""message":"Welcome""#, r#""message":"Welcome","data":{}"#)
    }, "data should be absent");
    time_in_milliseconds: found_in_frames("connecting/welcome", |_, frame| {
        replaced(&frame, "}", "000}")
    }, "time differs");
    lines: found_in_frames("frames/compact", |_, frame| (frame + "\n").into_bytes(), "the byte 0x0a between frames");
    spaces: found_in_frames("frames/compact", |_, frame| frame.replace("\":", "\": ").into_bytes(), r#""status": 0"#);
    braces_as_they_are: found_in_frames("frames/braces-escaped", |_, frame| {
        frame.replace("\\u007b", "{").replace("\\u007d", "}").into_bytes()
    }, ":-} {-:");
    characters_cut_in_two: found_in_frames("message/unicode", |_, frame| {
        frame.replace('\u{436}', "\u{fffd}\u{fffd}").into_bytes()
    }, "data.body differs");
    no_utf_8: found_in_frames("message/unicode", |_, frame| {
        let bytes = frame.into_bytes();
        bytes.into_iter().filter(|byte| *byte != 0xd0).collect()
    }, "not UTF-8");
    answers_out_of_order: found_in_frames("frames/answers-in-order", |kept, frame| {
        behind_the_next(kept, frame, |frame| frame.contains(r#""userinfo""#) && frame.contains(r#""status":0"#))
    }, "action differs");
    no_end: found("frames/no-json", Fault { stays: true, ..Fault::default() }, "nothing");

    // Fields.
    a_quoted_status: found_in_frames("fields/status-is-a-number", |_, frame| {
        replaced(&frame, r#""status":0"#, r#""status":"0""#)
    }, "data.status differs");
    no_error: found_in_frames("fields/status-is-a-number", |_, frame| {
        replaced(&frame, r#","error":"OK""#, "")
    }, "data.error is missing");
    no_field_in_a_failure: found_in_frames("fields/every-field-in-an-answer", |_, frame| {
        if frame.contains(r#""status":8"#) { replaced(&frame, r#","picture":"""#, "") } else { frame.into_bytes() }
    }, "data.picture is missing");
    numbers_in_their_own_form_alone: found_in_requests("fields/numbers-in-any-form", |frame| {
        frame.replace("1.0", r#""x""#)
    }, "data.status differs");
    keys_twice: found_in_requests("fields/key-twice", |frame| frame.replacen(r#""data":{},"#, "", 1), "data.status differs");

    // What goes wrong.
    closed_for_nothing: found_in_requests("wrong/no-action", |frame| {
        if frame == "{}" { "x".into() } else { frame }
    }, "the end");
    another_name_for_what_is_unknown: found_in_frames("wrong/unknown-action", |_, frame| {
        replaced(&frame, "dance", "unknown")
    }, "action differs");
    a_name_that_is_not_cut: found_in_frames("wrong/long-action", |_, frame| {
        frame.replacen("dddddd", "dddddddddddd", 1).into_bytes()
    }, "action differs");
    done_without_authentication: found_in_frames("wrong/unauthenticated", |_, frame| {
        replaced(&frame, r#""status":6"#, r#""status":0"#)
    }, "data.status differs");

    // Accounts and sessions.
    a_taken_login_is_malformed: found_in_frames("register/login-taken", |_, frame| {
        replaced(&frame, r#""status":1"#, r#""status":3"#)
    }, "data.status differs");
    register_authenticates: found_in_policy("register/does-not-authenticate", |policy| policy.auth_on_register = true, "action differs");
    longer_names: found_in_policy("register/limits", |policy| policy.limits.name = 100, r#""status":0"#);
    registering_twice_on_a_connection: found("register/authenticated", Fault { stays: true, ..Fault::default() }, "nothing");
    a_wrong_password_is_no_login: found_in_frames("auth/wrong-password", |_, frame| {
        replaced(&frame, r#""status":2"#, r#""status":7"#)
    }, "data.status differs");
    any_password: found_in_requests("auth/wrong-password", |frame| {
        frame.replace("wrong", "secret")
    }, r#""status":0"#);
    one_secret_for_all_sessions: found_in_frames("auth/each-begins-a-session", |_, frame| {
        match serde_json::from_str::<Value>(&frame) {
            Ok(mut value) if value["data"]["sid"].is_string() => {
                value["data"]["sid"] = "secret".into();
                value.to_string().into_bytes()
            }
            _ => frame.into_bytes(),
        }
    }, "data.sid differs");
    ephemeral_sessions_that_stay: found_in_requests("auth/ephemeral", |frame| {
        frame.replace("ephemeral", "eternal")
    }, "data.sid differs");
    a_logout_that_ends_nothing: found("logout/ends-the-session", Fault {
        request: Some(|frame| frame.replace("logout", "setuserinfo")),
        frame: |_, frame| replaced(&frame, "setuserinfo", "logout"),
        ..Fault::default()
    }, "data.status differs");
    more_sessions: found_in_policy("sessions/at-most-eight", |policy| policy.limits.sessions = 9, "nothing");
    resumed_without_being_carried_out: found_in_requests("sessions/resumed", |frame| {
        if frame.contains(r#""sid""#) { frame.replace("addcontact", "delcontact") } else { frame }
    }, "action differs");

    // Messages.
    events_twice: found_in_frames("message/delivered", |_, frame| {
        if is_event(&frame) { frame.repeat(2).into_bytes() } else { frame.into_bytes() }
    }, "ev_message");
    no_own_copy: found_in_policy("message/own-copy", |policy| policy.echo = false, "nothing");
    an_own_copy_with_seq: found_in_frames("message/own-copy", |_, frame| {
        if is_copy(&frame) { replaced(&frame, r#","id":"#, r#","seq":1,"id":"#) } else { frame.into_bytes() }
    }, "data.seq should be absent");
    an_own_copy_before_the_answer: found_in_frames("message/own-copy", |kept, frame| {
        behind_the_next(kept, frame, |frame| frame.starts_with(r#"{"action":"message""#))
    }, "action differs");
    another_id_in_the_event: found_in_frames("message/delivered", |_, frame| {
        if is_event(&frame) { replaced(&frame, r#""id":""#, r#""id":"x"#) } else { frame.into_bytes() }
    }, "data.id differs");
    numbers_from_nought: found_in_frames("message/delivered", |_, frame| {
        replaced(&frame, r#""seq":1}"#, r#""seq":0}"#)
    }, "data.seq differs");
    no_attachment_when_there_is_none: found_in_frames("message/delivered", |_, frame| {
        replaced(&frame, r#","attach":{"mime":"","data":""}"#, "")
    }, "data.attach is missing");
    attachments_read_as_base64: found_in_frames("message/attachment", |_, frame| {
        replaced(&frame, "no base64 \\u007b", "nobase64")
    }, "data.attach.data differs");
    messages_out_of_order: found_in_frames("message/in-order", |kept, frame| {
        behind_the_next(kept, frame, |frame| frame.contains(r#""body":"3""#))
    }, "data.body differs");
    longer_bodies: found_in_policy("message/limits", |policy| policy.limits.body = 100_000, r#""status":0"#);
    mids_forgotten: found_in_requests("message/mid-once", |frame| frame.replace(r#""mid""#, r#""other""#), "differs");
    a_mid_for_anything: found_in_requests("message/mid-of-another-message", |frame| {
        frame.replace(r#""mid""#, r#""other""#)
    }, "data.status differs");
    acknowledgements_not_waited_for: found_in_requests("ack/not-covered-comes-again", |frame| {
        frame.replace(r#""features""#, r#""other""#)
    }, "nothing");
    acknowledgements_not_kept: found_in_requests("ack/resumes", |frame| {
        frame.replace(r#""seq":1"#, r#""seq":0"#)
    }, "data.body differs");
    acknowledgements_of_what_there_is_not: found_in_frames("ack/beyond-the-newest", |_, frame| {
        replaced(&frame, r#""status":3"#, r#""status":0"#)
    }, "data.status differs");

    // People.
    empty_fields_that_stay: found_in_requests("people/setuserinfo", |frame| {
        frame.replace(r#""user_status":"""#, r#""other":"""#)
    }, "data.user_status differs");
    oneself_as_a_contact: found_in_frames("people/addcontact", |kept, frame| {
        // The second failure is that of oneself.
        let from = r#""status":1"#;
        second(kept, &frame, from, (from, r#""status":0"#))
    }, "data.status differs");
    contacts_in_another_order: found_in_frames("people/contactlist", |_, frame| {
        let mut value: Value = serde_json::from_str(&frame).unwrap();
        if let Some(Value::Array(list)) = value.pointer_mut("/data/list") {
            list.reverse();
        }
        value.to_string().into_bytes()
    }, "data.list[0]");
    a_contact_that_was_none: found_in_frames("people/delcontact", |kept, frame| {
        second(kept, &frame, r#""delcontact""#, (r#""status":0"#, r#""status":8"#))
    }, "data.status differs");
    matches_without_their_entry: found_in_frames("people/import-by-email", |_, frame| {
        replaced(&frame, r#""myid":"17""#, r#""myid":"""#)
    }, "data.list[0].myid differs");
}
