//! What waits for a socket, and how much of it may.

use super::*;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;

fn chunks<'a>(head: &'a [u8], body: &'a [u8]) -> Chunks<'a> {
    let (tail, kind) = (&[][..], Kind::Call(None));
    Chunks {
        head,
        body,
        tail,
        kind,
    }
}

fn fill(outgoing: &mut Outgoing, frames: usize) {
    for _ in 0..frames {
        let (accepted, _) = outgoing.push(&chunks(b"head", &vec![7; 60_000]), true, false);
        assert!(
            !matches!(accepted, Accepted::Gone | Accepted::Full { .. }),
            "{accepted:?}"
        );
    }
}

#[tokio::test]
async fn unwritten_bytes_are_bounded_and_frames_are_counted() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut outgoing = Outgoing::new(Arc::new(Stream::unix(ours)), true);
    fill(&mut outgoing, 60);
    assert!(!outgoing.is_empty());
    let mut full = Accepted::Waiting;
    for _ in 0..20 {
        full = outgoing
            .push(&chunks(b"head", &vec![7; 60_000]), true, false)
            .0;
    }
    let Accepted::Full { unwritten } = full else {
        panic!("{full:?}")
    };
    assert!(unwritten <= UNWRITTEN_BYTES);
    assert!(unwritten + 60_004 > UNWRITTEN_BYTES);
    drop(theirs);
    let lost = outgoing.close().calls;
    assert!((65..80).contains(&lost), "{lost}");
    assert_eq!(
        outgoing.push(&chunks(b"", b"x"), true, false).0,
        Accepted::Gone
    );
}

#[tokio::test]
async fn what_waits_is_written_in_order_and_then_the_end_is_told() {
    for coalesce in [true, false] {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let reader = tokio::spawn(async move {
            let mut received = Vec::new();
            theirs.read_to_end(&mut received).await.unwrap();
            received
        });
        let mut outgoing = Outgoing::new(Arc::new(Stream::unix(ours)), coalesce);
        fill(&mut outgoing, 10);
        outgoing.finish();
        assert_eq!(
            outgoing.push(&chunks(b"", b"late"), false, false).0,
            Accepted::Gone
        );
        while outgoing.flush().0.unwrap() != Left::Finished {
            outgoing.stream.as_ref().unwrap().writable().await.unwrap();
        }
        assert_eq!(outgoing.close().calls, 0);
        let received = reader.await.unwrap();
        assert_eq!(received.len(), 10 * 60_004);
        assert!(
            received
                .chunks(60_004)
                .all(|frame| frame.starts_with(b"head\x07"))
        );
    }
}

#[tokio::test]
async fn calls_of_which_nothing_was_written_are_taken_back() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut outgoing = Outgoing::new(Arc::new(Stream::unix(ours)), true);
    let body = vec![7; 100_000];
    for call in 0..10 {
        let tail = &[9][..];
        let frame = Chunks {
            tail,
            kind: Kind::Call(Some(call)),
            ..chunks(b"call", &body)
        };
        outgoing.push(&frame, true, false);
    }
    outgoing.push(&chunks(b"answer", b"x"), true, false);
    let unsent = outgoing.take_back();
    assert!((1..10).contains(&unsent.len()), "{unsent:?}");
    assert_eq!(*unsent.last().unwrap(), 9);
    outgoing.finish();
    let reader = tokio::spawn(async move {
        let mut received = Vec::new();
        theirs.read_to_end(&mut received).await.unwrap();
        received
    });
    while outgoing.flush().0.unwrap() != Left::Finished {
        outgoing.stream.as_ref().unwrap().writable().await.unwrap();
    }
    outgoing.close();
    let received = reader.await.unwrap();
    let sent = 10 - unsent.len();
    assert_eq!(received.len(), sent * 100_005 + 7);
    assert!(received.ends_with(b"\x09answerx"));
}
