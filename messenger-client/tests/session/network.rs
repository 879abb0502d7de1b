//! A network that cuts, delays, half-closes and falls silent.

use messenger_core::testing::SeededEntropy;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const PIPE: usize = 16 * 1024;

/// What becomes of one direction of a connection once it has carried so many bytes.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Both directions end.
    Cut,
    /// This direction ends in good order.
    HalfClose,
    /// Nothing goes through any more, and nobody is told.
    Silence,
}

/// A connection over a network that is good until it is cut.
pub(crate) fn good(cut: &CancellationToken) -> (DuplexStream, DuplexStream) {
    connection(cut, None)
}

/// A connection over a bad one.
pub(crate) fn bad(
    cut: &CancellationToken,
    entropy: &SeededEntropy,
) -> (DuplexStream, DuplexStream) {
    connection(cut, Some(entropy))
}

fn connection(
    cut: &CancellationToken,
    entropy: Option<&SeededEntropy>,
) -> (DuplexStream, DuplexStream) {
    let (client, near) = duplex(PIPE);
    let (far, server) = duplex(PIPE);
    let (from_client, to_client) = split(near);
    let (from_server, to_server) = split(far);
    let cut = cut.child_token();
    for (from, to) in [(from_client, to_server), (from_server, to_client)] {
        let (entropy, cut) = (entropy.cloned(), cut.clone());
        tokio::spawn(async move {
            let carrying = async {
                match entropy {
                    Some(entropy) => carry(from, to, entropy, cut.clone()).await,
                    None => carry_all(from, to).await,
                }
            };
            cut.run_until_cancelled(carrying).await
        });
    }
    (client, server)
}

async fn carry_all(mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>) {
    // Whatever fails is told to the ends, which are dropped.
    let _ = tokio::io::copy(&mut from, &mut to).await;
    let _ = to.shutdown().await;
}

/// Carries bytes in one direction until the fault that awaits it.
async fn carry(
    mut from: ReadHalf<DuplexStream>,
    mut to: WriteHalf<DuplexStream>,
    entropy: SeededEntropy,
    cut: CancellationToken,
) {
    let mut left = match entropy.below(4) {
        0 => entropy.below(200),
        1 => entropy.below(1_000),
        2 => entropy.below(10_000),
        _ => usize::MAX,
    };
    let fault = match entropy.below(4) {
        0 => Fault::HalfClose,
        1 => Fault::Silence,
        _ => Fault::Cut,
    };
    let mut bytes = [0; 512];
    loop {
        let most = (entropy.below(bytes.len()) + 1).min(left);
        if most == 0 {
            break;
        }
        let Ok(count @ 1..) = from.read(&mut bytes[..most]).await else {
            // The other end is gone, which ours learns.
            let _ = to.shutdown().await;
            return;
        };
        if entropy.below(8) == 0 {
            let longest = if entropy.below(16) == 0 { 40_000 } else { 300 };
            sleep(Duration::from_millis(entropy.below(longest) as u64)).await;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
        left -= count;
    }
    match fault {
        Fault::Cut => cut.cancel(),
        Fault::HalfClose => {
            let _ = to.shutdown().await;
        }
        Fault::Silence => {
            // Both ends stay open.
            cut.cancelled().await;
            drop((from, to));
        }
    }
}
