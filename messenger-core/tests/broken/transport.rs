//! Transports that break a promise.

use bytes::BytesMut;
use messenger_core::proto::{Braces, ErrorCode, Failure, Inbound, Outbound};
use messenger_core::testing::transport::Client;
use messenger_core::{Driver, DriverLimits, Engine, async_trait};
use std::future::pending;
use tokio::sync::mpsc::{Receiver, Sender, channel};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    LosesFrames,
    ReordersFrames,
    TellsOfNothingDelivered,
    TakesWhatIsQueuedForDelivered,
    ClosesForWhatIsNoRequest,
    SaysNothingOfWhatIsNoJson,
    GoesOnAfterWhatIsNoJson,
    HasNoFrameLimit,
    HasOneFrameLimitForAll,
    StaysWhenTheSessionHasEnded,
    HoldsOnToClientsThatHaveGone,
}

impl Fault {
    pub(crate) const ALL: &[Self] = &[
        Self::LosesFrames,
        Self::ReordersFrames,
        Self::TellsOfNothingDelivered,
        Self::TakesWhatIsQueuedForDelivered,
        Self::ClosesForWhatIsNoRequest,
        Self::SaysNothingOfWhatIsNoJson,
        Self::GoesOnAfterWhatIsNoJson,
        Self::HasNoFrameLimit,
        Self::HasOneFrameLimitForAll,
        Self::StaysWhenTheSessionHasEnded,
        Self::HoldsOnToClientsThatHaveGone,
    ];
}

/// A client at the other end of two channels.
struct Channels {
    requests: Sender<String>,
    frames: Receiver<Outbound>,
}

pub(crate) fn connect(engine: &Engine, fault: Fault) -> impl Client + use<> {
    let queue = match fault {
        Fault::TakesWhatIsQueuedForDelivered => 10_000,
        _ => 1,
    };
    let (requests, from_client) = channel(64);
    let (to_client, frames) = channel(queue);
    let broken = Broken {
        driver: Driver::new(engine.connect(), DriverLimits::default()),
        frames: to_client,
        fault,
        count: 0,
        held: None,
    };
    tokio::spawn(broken.serve(from_client));
    Channels { requests, frames }
}

#[async_trait]
impl Client for Channels {
    async fn send(&mut self, frame: String) {
        let _ = self.requests.send(frame).await;
    }

    async fn receive(&mut self) -> Option<String> {
        let mut text = BytesMut::new();
        self.frames.recv().await?.encode(&mut text, Braces::Plain);
        Some(String::from_utf8(text.into()).unwrap())
    }
}

struct Broken {
    driver: Driver,
    frames: Sender<Outbound>,
    fault: Fault,
    count: u64,
    held: Option<Outbound>,
}

impl Broken {
    async fn serve(mut self, mut requests: Receiver<String>) {
        loop {
            let is_wanted = self.driver.wants_request(0);
            tokio::select! {
                frame = self.driver.next_frame(0) => match frame {
                    Ok(frame) => {
                        if !self.give(frame.outbound).await {
                            return self.client_has_gone().await;
                        }
                        if self.fault != Fault::TellsOfNothingDelivered {
                            self.driver.delivered(frame.token);
                        }
                    }
                    Err(_) if self.fault == Fault::StaysWhenTheSessionHasEnded => pending().await,
                    Err(_) => return,
                },
                request = requests.recv(), if is_wanted => match request {
                    Some(text) => self.take(text),
                    None => return self.client_has_gone().await,
                },
            }
        }
    }

    async fn client_has_gone(self) {
        if self.fault == Fault::HoldsOnToClientsThatHaveGone {
            pending::<()>().await;
        }
        // Whatever was asked is left undone, which no suite can tell.
    }

    /// False when the client has gone.
    async fn give(&mut self, frame: Outbound) -> bool {
        self.count += 1;
        let is_tenth = self.count.is_multiple_of(10);
        match self.fault {
            Fault::LosesFrames if is_tenth => true,
            Fault::ReordersFrames if is_tenth => {
                self.held = Some(frame);
                true
            }
            _ => {
                let sent = self.frames.send(frame).await;
                match self.held.take() {
                    Some(held) => self.frames.send(held).await.is_ok(),
                    None => sent.is_ok(),
                }
            }
        }
    }

    fn take(&mut self, text: String) {
        let length = text.len();
        let limit = match self.fault {
            Fault::HasNoFrameLimit => usize::MAX,
            Fault::HasOneFrameLimitForAll => DriverLimits::default().frame_before_auth,
            _ => self.driver.frame_limit(),
        };
        let invalid = |why: &str| Failure::new(ErrorCode::InvalidData, why.to_owned());
        if length > limit {
            return self.driver.refuse(invalid("it is too long"));
        }
        match (Inbound::decode(text.into()), self.fault) {
            (Ok(Err(_)), Fault::ClosesForWhatIsNoRequest)
            | (Err(_), Fault::SaysNothingOfWhatIsNoJson) => self.driver.finish(),
            (Ok(request), _) => self.driver.request(request, length),
            (Err(_), Fault::GoesOnAfterWhatIsNoJson) => {}
            (Err(_), _) => self.driver.refuse(invalid("it is no JSON")),
        }
    }
}
