//! The splitter and the codecs, by frame size and by the size of the chunks a frame comes in.

#![allow(missing_docs)] // criterion's macros

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use messenger_proto::{
    Attachment, Braces, ClientCodec, EvMessage, Event, Inbound, Message, Outbound, SendMessage,
    ServerCodec, Split, Splitter,
};
use std::hint::black_box;
use std::time::Duration;
use tokio_util::codec::{Decoder, Encoder};

const SIZES: [(&str, usize); 4] = [
    ("100B", 100),
    ("1KB", 1000),
    ("64KB", 64 * 1024),
    ("8MB", 8 * 1024 * 1024),
];

/// A request whose frame has about this size: text while it is small, an attachment when it is large.
fn request(size: usize) -> Inbound {
    let payload = "aGVsbG8g".repeat(size / 8);
    let message = if size <= 1000 {
        SendMessage::new("bob", payload)
    } else {
        SendMessage::new("bob", "").attach(Attachment::new("image/png", payload))
    };
    Inbound::new(message)
}

/// Frames a second and bytes a second.
fn one_frame(bytes: usize) -> Throughput {
    Throughput::ElementsAndBytes {
        elements: 1,
        bytes: bytes as u64,
    }
}

fn frame(size: usize) -> Bytes {
    let mut out = BytesMut::new();
    request(size).encode(&mut out, Braces::Escaped);
    out.freeze()
}

fn event(size: usize) -> Event {
    let payload = "aGVsbG8g".repeat(size / 8);
    let message = Message::new("0123456789abcdef-1", "ann", "bob", 1_700_000_000)
        .nick("Ann")
        .body(payload);
    Event::Message(EvMessage::new(Some(1), message))
}

fn split(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("split");
    for (name, size) in SIZES {
        let frame = frame(size);
        group.throughput(one_frame(frame.len()));
        group.bench_function(name, |bencher| {
            let mut splitter = Splitter::new(usize::MAX);
            bencher.iter(|| splitter.split(black_box(&frame)));
        });
    }
    group.finish();
}

/// A frame looked at as it grows. A call costs what a call costs; beyond that a byte costs the same
/// whatever the chunks, and in 1-byte chunks it costs no more in a frame of 8 MB than in one of 64 KB.
fn split_chunks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("split-in-chunks");
    group.sample_size(10);
    let (small, large) = (frame(64 * 1024), frame(8 * 1024 * 1024));
    for (name, frame, chunk) in [
        ("64KB-by-1", &small, 1),
        ("8MB-by-1", &large, 1),
        ("8MB-by-1400", &large, 1400),
        ("8MB-whole", &large, usize::MAX),
    ] {
        group.throughput(one_frame(frame.len()));
        let id = BenchmarkId::from_parameter(name);
        group.bench_with_input(id, &chunk, |bencher, chunk| {
            bencher.iter(|| {
                let mut splitter = Splitter::new(usize::MAX);
                let mut end = 0_usize;
                loop {
                    end = frame.len().min(end.saturating_add(*chunk));
                    let received = frame.get(..end).unwrap_or_default();
                    if let Ok(Split::Frame(place)) = splitter.split(black_box(received)) {
                        break place;
                    }
                }
            });
        });
    }
    group.finish();
}

fn decode_requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode-request");
    for (name, size) in SIZES {
        let frame = frame(size);
        group.throughput(one_frame(frame.len()));
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || (ServerCodec::default(), BytesMut::from(&*frame)),
                |(codec, received)| codec.decode(received),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

/// One frame of 8 MB through the codec, arriving in chunks.
fn decode_chunks(criterion: &mut Criterion) {
    let frame = frame(8 * 1024 * 1024);
    let mut group = criterion.benchmark_group("decode-8MB-in-chunks");
    group.throughput(one_frame(frame.len()));
    group.sample_size(10);
    for chunk in [1, 1400, frame.len()] {
        let id = BenchmarkId::from_parameter(chunk);
        group.bench_with_input(id, &chunk, |bencher, chunk| {
            bencher.iter(|| {
                let mut codec = ServerCodec::default();
                let mut received = BytesMut::new();
                let mut decoded = None;
                for chunk in frame.chunks(*chunk) {
                    received.extend_from_slice(chunk);
                    decoded = codec.decode(&mut received).ok().flatten();
                }
                decoded
            });
        });
    }
    group.finish();
}

fn decode_events(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode-event");
    for (name, size) in SIZES {
        let mut frame = BytesMut::new();
        event(size).encode(&mut frame, Braces::Escaped);
        group.throughput(one_frame(frame.len()));
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || (ClientCodec::default(), BytesMut::from(&*frame)),
                |(codec, received)| codec.decode(received),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode-request");
    for (name, size) in SIZES {
        let request = request(size);
        group.throughput(one_frame(size));
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || BytesMut::with_capacity(2 * size + 512),
                |out| request.encode(out, Braces::Plain),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("encode-event");
    for (name, size) in SIZES {
        group.throughput(one_frame(size));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                // A new message each time: a large one remembers its encoding.
                || (event(size), BytesMut::with_capacity(2 * size + 512)),
                |(event, mut out)| {
                    let encoded = ServerCodec::default().encode(Outbound::Event(event), &mut out);
                    (encoded.is_ok(), out)
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = split, split_chunks, decode_requests, decode_chunks, decode_events, encode
}
criterion_main!(benches);
