//! Metrics in a registry of one's own.

use crate::support::{Program, get, join};

#[tokio::test]
async fn the_page_shows_what_the_engine_counts_beside_what_the_service_does() {
    let mut program = Program::start(env!("CARGO_BIN_EXE_metrics"), &[]);
    let web = program.line_with("web on ").await;
    let address = program.line_with("messenger on ").await;
    let (ann, _copies) = join(&address, "ann").await;
    for _ in 0..3 {
        ann.send("ann", "a note").await.unwrap();
    }
    get(&web, "/metrics").await;
    let page = get(&web, "/metrics").await;
    for line in [
        "visits_total 2\n",
        "messenger_messages_accepted_total 3\n",
        "messenger_sessions 1\n",
        "messenger_requests_total{action=\"message\",status=\"0\"} 3\n",
        "messenger_connections 1\n",
    ] {
        assert!(page.contains(line), "{line} is not in {page}");
    }
    assert!(
        page.contains("\nmessenger_store_seconds{call=\"append\"} 3 values,"),
        "{page}"
    );
    program.stop().await;
}
