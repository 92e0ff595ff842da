//! X14: the ring refused for real, by a filter as containers have it.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on ends here")]

use logdrive::io::probe::{Chosen, Io, choose};

mod refused;
use refused::with_refused;

#[test]
fn x14_auto_falls_back_and_says_why_and_uring_refuses_to_start() {
    for (syscall, errno, wanted) in [
        (libc::SYS_io_uring_setup, libc::EPERM, "cannot create io_uring: "),
        (libc::SYS_io_uring_setup, libc::ENOSYS, "the kernel is older than 5.6 or built without it"),
        (libc::SYS_io_uring_setup, libc::ENOMEM, "the limit of locked memory is too small"),
        (libc::SYS_io_uring_enter, libc::EPERM, "cannot read through io_uring: "),
    ] {
        let (auto, insisted) = with_refused(syscall, errno, || (choose(Io::Auto), choose(Io::Uring)));
        let Ok(chosen @ Chosen::BlockingInstead(_)) = auto else { panic!("{errno}: {auto:?}") };
        let line = chosen.to_string();
        assert!(line.contains(wanted), "{line}");
        assert!(!line.contains('\n'), "{line}");
        let advice = insisted.expect_err("refused").advice();
        assert!(advice.contains("--io blocking"), "{advice}");
    }
}

#[test]
fn x14_the_blocking_twin_reads_where_the_ring_is_refused() {
    use std::io::Write;

    use bytes::BytesMut;
    use logdrive::bell::Bell;
    use logdrive::io::blocking::BlockingReads;
    use logdrive::io::{Read, Reads};
    use logdrive_core::position::Position;
    use logdrive_core::source::SourceId;

    with_refused(libc::SYS_io_uring_setup, libc::EPERM, || {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"one\n").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (bell, source) = (Bell::default(), SourceId { index: 0, epoch: 0 });
            let mut reads = BlockingReads::new(bell.clone()).unwrap();
            reads.adopt(source, file.into());
            let buffer = BytesMut::with_capacity(16);
            reads.submit(Read { source, position: Position::ZERO, buffer, want: 16 });
            bell.wait().await;
            assert_eq!(&reads.poll_done().unwrap().buffer[..], b"one\n");
        });
    });
}
