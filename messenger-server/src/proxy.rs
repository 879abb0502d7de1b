//! The PROXY protocol: a proxy in front tells where a connection comes from.

use proxy_header::{Error, ParseConfig, ProxyHeader};
use std::io;
use std::net::IpAddr;
use tokio::io::{AsyncRead, AsyncReadExt};

/// What a header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The bytes of a header of version 2 before its addresses; the last two tell how many follow.
const FIXED: usize = 16;

/// No header is shorter.
const SHORTEST: usize = "PROXY UNKNOWN\r\n".len();

/// The longest header of version 2 that is read, in bytes: addresses, and what proxies add to them.
const LONGEST: usize = 4096;

const CONFIG: ParseConfig = ParseConfig {
    include_tlvs: false,
    allow_v1: true,
    allow_v2: true,
};

/// Reads the header, and not a byte more. The client's address; `None` when the proxy speaks for
/// itself, or does not know.
///
/// # Errors
/// There is no such header, or the stream fails.
pub(crate) async fn read_header(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<IpAddr>> {
    let mut header = vec![0; SHORTEST];
    stream.read_exact(&mut header).await?;
    if header.starts_with(SIGNATURE) {
        header.push(stream.read_u8().await?);
        let length = header
            .get(FIXED - 2..)
            .and_then(|length| length.try_into().ok());
        let length = usize::from(u16::from_be_bytes(length.unwrap_or_default()));
        if FIXED + length > LONGEST {
            return Err(invalid(Error::HeaderTooBig));
        }
        header.resize(FIXED + length, 0);
        stream
            .read_exact(header.get_mut(FIXED..).unwrap_or_default())
            .await?;
        return parse(&header).map_err(invalid);
    }
    loop {
        match parse(&header) {
            // The parser knows how long such a line may be.
            Err(Error::BufferTooShort) => header.push(stream.read_u8().await?),
            parsed => return parsed.map_err(invalid),
        }
    }
}

fn parse(header: &[u8]) -> Result<Option<IpAddr>, Error> {
    let (header, _) = ProxyHeader::parse(header, CONFIG)?;
    let address = header.proxied_address();
    Ok(address.map(|address| address.source.ip()))
}

fn invalid(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_header::ProxiedAddress;
    use std::net::SocketAddr;

    async fn read(bytes: &[u8]) -> (io::Result<Option<IpAddr>>, usize) {
        let mut left = bytes;
        let read = read_header(&mut left).await;
        (read, left.len())
    }

    #[tokio::test]
    async fn both_versions_are_read_and_nothing_behind_them() {
        let addresses: [(SocketAddr, SocketAddr); 2] = [
            (
                "192.0.2.1:5000".parse().unwrap(),
                "192.0.2.9:7788".parse().unwrap(),
            ),
            (
                "[2001:db8::1]:5000".parse().unwrap(),
                "[2001:db8::9]:7788".parse().unwrap(),
            ),
        ];
        for (client, server) in addresses {
            let header = ProxyHeader::with_address(ProxiedAddress::stream(client, server));
            let (mut first, mut second) = (Vec::new(), Vec::new());
            header.encode_v1(&mut first).unwrap();
            header.encode_v2(&mut second).unwrap();
            for mut bytes in [first, second] {
                bytes.extend_from_slice(b"{}");
                let (read, left) = read(&bytes).await;
                assert_eq!((read.unwrap(), left), (Some(client.ip()), 2));
            }
        }
    }

    #[tokio::test]
    async fn a_proxy_may_speak_for_itself() {
        let mut local = Vec::new();
        ProxyHeader::with_local().encode_v2(&mut local).unwrap();
        for header in [b"PROXY UNKNOWN\r\n".to_vec(), local] {
            let (read, left) = read(&header).await;
            assert_eq!((read.unwrap(), left), (None, 0));
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused_in_bounded_memory() {
        let endless = [b"PROXY TCP4 ".as_slice(), &[b'1'; 10_000]].concat();
        let huge = [
            SIGNATURE.as_slice(),
            &[0x21, 0x11, 0xff, 0xff],
            &[0; 70_000],
        ]
        .concat();
        for bytes in [
            endless,
            huge,
            vec![0; 1000],
            b"{\"action\":\"auth\"}".to_vec(),
        ] {
            let (read, left) = read(&bytes).await;
            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidData);
            assert!(bytes.len() - left <= LONGEST);
        }
        let (cut, _) = read(b"PROXY TCP4 192.0.2.1").await;
        assert_eq!(cut.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
