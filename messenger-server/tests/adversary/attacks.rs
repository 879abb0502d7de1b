//! What attackers do. Each begins an attack and gives the tasks that go on with it until dropped.

use super::support::{Raw, SOON};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

/// Attackers are no quicker than this machine can bear beside everything else it does here: it is
/// theirs as well.
const BREATH: Duration = Duration::from_millis(1);

#[derive(Clone)]
pub(crate) struct Attack {
    pub(crate) address: String,
    pub(crate) tls: String,
    pub(crate) name: &'static str,
}

impl Attack {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }

    /// An account of the attacker's, logged in.
    async fn log_in(&self, number: usize) -> Raw {
        let mut raw = Raw::new(self.connect().await);
        assert_eq!(raw.frame().await["action"], "welcome");
        raw.log_in(&format!("{}-{number}", self.name)).await;
        raw
    }

    /// So many at once, each on and on.
    fn repeat<F: Future<Output = ()> + Send + 'static>(
        &self,
        at_once: usize,
        act: impl Fn(Self, usize) -> F + Clone + Send + 'static,
    ) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for task in 0..at_once {
            let (attack, act) = (self.clone(), act.clone());
            tasks.spawn(async move {
                for round in 0.. {
                    act(attack.clone(), round * at_once + task).await;
                    sleep(BREATH).await;
                }
            });
        }
        tasks
    }
}

/// Holds these until the tasks are dropped.
fn hold<T: Send + 'static>(held: T) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        std::future::pending::<()>().await;
        drop(held);
    });
    tasks
}

/// Reads and drops all that comes, until the end.
async fn drain(mut stream: TcpStream) {
    let mut chunk = vec![0; 64 * 1024];
    while timeout(SOON, stream.read(&mut chunk))
        .await
        .is_ok_and(|read| read.is_ok_and(|read| read > 0))
    {}
}

pub(crate) async fn byte_by_byte(attack: Attack) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for _ in 0..500 {
        let mut stream = attack.connect().await;
        tasks.spawn(async move {
            let mut ticks = interval(Duration::from_millis(500));
            for byte in br#"{"action":"register","data":{"login":"slow"#.iter().cycle() {
                ticks.tick().await;
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
        });
    }
    tasks
}

pub(crate) async fn silence(attack: Attack) -> JoinSet<()> {
    let mut streams = Vec::new();
    for _ in 0..10_000 {
        streams.push(attack.connect().await);
    }
    hold(streams)
}

pub(crate) async fn never_reading(attack: Attack) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for number in 0..50 {
        let mut raw = attack.log_in(number).await;
        tasks.spawn(async move {
            let own = format!("never_reading-{number}");
            let body = "x".repeat(60_000);
            let message =
                format!(r#"{{"action":"message","data":{{"uid":"{own}","body":"{body}"}}}}"#);
            let question = r#"{"action":"userinfo","data":{}}"#.repeat(100);
            for _ in 0..100 {
                // Until nothing is taken any more.
                let mut sent = raw.stream.write_all(message.as_bytes()).await;
                sent = sent.and(raw.stream.write_all(question.as_bytes()).await);
                if sent.is_err() {
                    break;
                }
                sleep(200 * BREATH).await;
            }
            std::future::pending::<()>().await;
        });
    }
    tasks
}

pub(crate) async fn frames_at_the_limit(attack: Attack) -> JoinSet<()> {
    let limit = 16 * 1024;
    attack.repeat(4, move |attack, round| async move {
        let length = limit - 1 + round % 3;
        let shell = r#"{"action":"auth","data":{"login":"","pass":""}}"#;
        let login = "x".repeat(length - shell.len());
        let frame = shell.replacen(r#""login":"""#, &format!(r#""login":"{login}""#), 1);
        assert_eq!(frame.len(), length);
        let mut raw = Raw::new(attack.connect().await);
        assert_eq!(raw.frame().await["action"], "welcome");
        raw.send(&frame).await;
        let answer = raw.frame().await;
        if length <= limit {
            assert_eq!(answer["action"], "auth");
        } else {
            assert_eq!(answer["action"], "unknown");
            assert!(raw.try_frame().await.is_none());
        }
    })
}

pub(crate) async fn deep_nesting(attack: Attack) -> JoinSet<()> {
    attack.repeat(4, |attack, round| async move {
        let open = [r#"{"a":"#, "{\"a\":[[[["][round % 2];
        let mut stream = attack.connect().await;
        let _ = stream.write_all(open.repeat(2000).as_bytes()).await;
        drain(stream).await;
    })
}

pub(crate) async fn endless_strings(attack: Attack) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for number in 0..4 {
        let mut raw = attack.log_in(number).await;
        let attack = attack.clone();
        tasks.spawn(async move {
            let chunk = "x".repeat(64 * 1024);
            loop {
                let begin = br#"{"action":"message","data":{"uid":"x","body":""#;
                let mut sent = raw.stream.write_all(begin).await;
                while sent.is_ok() {
                    sent = raw.stream.write_all(chunk.as_bytes()).await;
                    sleep(BREATH).await;
                }
                raw = attack.log_in(number).await;
            }
        });
    }
    tasks
}

pub(crate) async fn tiny_frames(attack: Attack) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for number in 0..4 {
        let raw = attack.log_in(number).await;
        let (mut input, mut output) = raw.stream.into_split();
        tasks.spawn(async move {
            let frames = "{}".repeat(500);
            while output.write_all(frames.as_bytes()).await.is_ok() {
                sleep(10 * BREATH).await;
            }
        });
        tasks.spawn(async move {
            let mut chunk = vec![0; 64 * 1024];
            while input.read(&mut chunk).await.is_ok_and(|read| read > 0) {}
        });
    }
    tasks
}

pub(crate) async fn reconnecting(attack: Attack) -> JoinSet<()> {
    attack.repeat(8, |attack, _| async move {
        for _ in 0..4 {
            drop(attack.connect().await);
        }
        sleep(5 * BREATH).await;
    })
}

pub(crate) async fn tls_garbage(attack: Attack) -> JoinSet<()> {
    attack.repeat(8, |attack, round| async move {
        let garbage = [
            b"{\"action\":\"auth\"}".as_slice(),
            &[0x16, 3, 1, 255, 255, 1, 0],
            &[0; 100],
        ];
        let mut stream = TcpStream::connect(&attack.tls).await.unwrap();
        let _ = stream.write_all(garbage[round % 3]).await;
        let _ = stream.shutdown().await;
        sleep(10 * BREATH).await;
    })
}

pub(crate) async fn half_open(attack: Attack) -> JoinSet<()> {
    let mut streams = Vec::new();
    for number in 0..500 {
        let mut stream = attack.connect().await;
        stream.write_all(b"{\"action\":\"mess").await.unwrap();
        if number % 2 == 0 {
            stream.set_zero_linger().unwrap();
            drop(stream);
        } else {
            streams.push(stream);
        }
    }
    hold(streams)
}

pub(crate) async fn wrong_passwords(attack: Attack) -> JoinSet<()> {
    attack.repeat(20, |attack, round| async move {
        let mut raw = Raw::new(attack.connect().await);
        assert_eq!(raw.frame().await["action"], "welcome");
        let login = ["nobody", "wrong_passwords-0"][round % 2];
        raw.send(&format!(
            r#"{{"action":"auth","data":{{"login":"{login}","pass":"wrong"}}}}"#
        ))
        .await;
        let status = raw.frame().await["data"]["status"].clone();
        assert!(status == 7 || status == 20, "{status}");
    })
}

pub(crate) async fn registrations(attack: Attack) -> JoinSet<()> {
    attack.repeat(20, |attack, round| async move {
        let mut raw = Raw::new(attack.connect().await);
        assert_eq!(raw.frame().await["action"], "welcome");
        let account = format!(r#"{{"login":"mass-{round}","pass":"p","nick":"mass {round}"}}"#);
        raw.send(&format!(r#"{{"action":"register","data":{account}}}"#))
            .await;
        let status = raw.frame().await["data"]["status"].clone();
        assert!(status == 0 || status == 20, "{status}");
    })
}

pub(crate) async fn imports(attack: Attack) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for number in 0..10 {
        let mut raw = attack.log_in(number).await;
        let entries = (0..500).map(|entry| {
            format!(
                r#"{{"myid":"{entry}","name":"x","phone":"+7900{number}{entry:06}","email":""}}"#
            )
        });
        let entries = entries.collect::<Vec<_>>().join(",");
        let import = format!(r#"{{"action":"import","data":{{"contacts":[{entries}]}}}}"#);
        tasks.spawn(async move {
            for round in 0.. {
                raw.send(&import).await;
                let status = raw.frame().await["data"]["status"].clone();
                // 20,000 a day.
                assert_eq!(status, if round < 40 { 0 } else { 20 });
                sleep(20 * BREATH).await;
            }
        });
    }
    tasks
}

pub(crate) async fn unread_lists(attack: Attack) -> JoinSet<()> {
    let picture = "A".repeat(60_000);
    let mut shown = attack.log_in(0).await;
    shown
        .send(&format!(
            r#"{{"action":"setuserinfo","data":{{"email":"seen@example.org","picture":"{picture}"}}}}"#
        ))
        .await;
    assert_eq!(shown.frame().await["data"]["status"], 0);
    let entry = r#"{"myid":"1","name":"x","phone":"","email":"seen@example.org"}"#;
    let entries = vec![entry; 1000].join(",");
    let mut tasks = hold(shown);
    for number in 1..=20 {
        let mut raw = Raw::new(attack.connect().await);
        assert_eq!(raw.frame().await["action"], "welcome");
        let cid = format!("{} {number}", attack.name);
        let sid = raw.log_in(&cid).await;
        let attack = attack.clone();
        let import = format!(
            r#"{{"action":"import","data":{{"cid":"{cid}","sid":"{sid}","contacts":[{entries}]}}}}"#
        );
        tasks.spawn(async move {
            loop {
                // Some 60 MB, of which nothing is taken until the server ends it.
                let mut sent = raw.stream.write_all(import.as_bytes()).await;
                while sent.is_ok() {
                    sleep(100 * BREATH).await;
                    sent = raw.stream.write_all(b" ").await;
                }
                raw = Raw::new(attack.connect().await);
            }
        });
    }
    tasks
}

pub(crate) async fn large_messages(attack: Attack) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for number in 0..20 {
        let raw = attack.log_in(number).await;
        let to = format!("large_messages {number}");
        let body = "x".repeat(60_000);
        let message = format!(r#"{{"action":"message","data":{{"uid":"{to}","body":"{body}"}}}}"#);
        let (input, mut output) = raw.stream.into_split();
        tasks.spawn(async move {
            while output.write_all(message.as_bytes()).await.is_ok() {
                sleep(10 * BREATH).await;
            }
        });
        // Nobody reads.
        tasks.spawn(async move {
            std::future::pending::<()>().await;
            drop(input);
        });
    }
    tasks
}

pub(crate) async fn half_sent_frames(attack: Attack) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for number in 0..60 {
        let mut raw = attack.log_in(number).await;
        tasks.spawn(async move {
            let begin = br#"{"action":"message","data":{"uid":"x","attach":{"mime":"x","data":""#;
            let chunk = "A".repeat(64 * 1024);
            let mut sent = raw.stream.write_all(begin).await;
            for _ in 0..(15 * 16) {
                sent = sent.and(raw.stream.write_all(chunk.as_bytes()).await);
                sleep(5 * BREATH).await;
            }
            std::future::pending::<()>().await;
            drop(sent);
        });
    }
    tasks
}
