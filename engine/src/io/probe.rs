//! Finds out before anything depends on it whether this process may use io_uring.
//!
//! Containers and hardened kernels refuse the ring, each in its own way, and the runtime would panic. So a
//! ring of the same size is made here, and one read goes through it: a profile may allow the first call and refuse the
//! second, and an old kernel knows the ring but not the read.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::str::FromStr;

use io_uring::{IoUring, opcode, types};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;

use super::uring::RING_ENTRIES;

/// What was asked for.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub enum Io {
    /// The ring where it works, else blocking reads.
    #[default]
    Auto,
    /// The ring or nothing.
    Uring,
    /// Blocking reads on threads.
    Blocking,
}

impl FromStr for Io {
    type Err = String;
    fn from_str(text: &str) -> Result<Io, String> {
        match text {
            "auto" => Ok(Io::Auto),
            "uring" => Ok(Io::Uring),
            "blocking" => Ok(Io::Blocking),
            _ => Err(format!("unknown io `{text}`; one of auto, uring, blocking")),
        }
    }
}

/// What will be used, and why. Its text is the one line that says so.
#[derive(Debug)]
pub enum Chosen {
    /// The ring works.
    Uring,
    /// Blocking reads, because they were asked for.
    Blocking,
    /// Blocking reads, because the ring is refused.
    BlockingInstead(RingRefused),
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Chosen::Uring => write!(f, "reading through io_uring"),
            Chosen::Blocking => write!(f, "reading with blocking calls, as configured"),
            Chosen::BlockingInstead(refused) => {
                write!(f, "reading with blocking calls: {refused}; likely cause: {}", refused.cause)
            }
        }
    }
}

/// The ring cannot be used here.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}: {source}")]
pub struct RingRefused {
    operation: &'static str,
    /// The likely cause in words.
    pub cause: String,
    source: io::Error,
}

impl RingRefused {
    /// Error and cause and what to try, for a start that insists on the ring.
    #[must_use]
    pub fn advice(&self) -> String {
        format!("{self}; likely cause: {}; use `io = \"auto\"` or `--io blocking`", self.cause)
    }
}

/// Decides how files are read. Call it before a runtime is started.
///
/// # Errors
/// [`Io::Uring`] was asked for and is refused.
pub fn choose(requested: Io) -> Result<Chosen, RingRefused> {
    match requested {
        Io::Blocking => Ok(Chosen::Blocking),
        Io::Uring => probe().map(|()| Chosen::Uring),
        Io::Auto => Ok(probe().map_or_else(Chosen::BlockingInstead, |()| Chosen::Uring)),
    }
}

/// Makes a ring and reads through it.
fn probe() -> Result<(), RingRefused> {
    let refused = |operation| {
        move |source: io::Error| {
            let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
            RingRefused { operation, cause: cause_of(&source, sysctl.as_deref()), source }
        }
    };
    let mut ring = IoUring::new(RING_ENTRIES).map_err(refused("create io_uring"))?;
    read_through(&mut ring).map_err(refused("read through io_uring"))
}

fn read_through(ring: &mut IoUring) -> io::Result<()> {
    let wanted = b"logdrive";
    let file = rustix::fs::memfd_create("logdrive-probe", MemfdFlags::CLOEXEC)?;
    rustix::io::write(&file, wanted)?;
    let mut found = [0; 8];
    let read = opcode::Read::new(types::Fd(file.as_raw_fd()), found.as_mut_ptr(), 8).offset(0).build();
    // SAFETY: the descriptor and the buffer live until the completion below; without one, the kernel never
    // took the read.
    unsafe { ring.submission().push(&read) }.map_err(io::Error::other)?;
    while let Err(error) = ring.submit_and_wait(1) {
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    let Some(completion) = ring.completion().next() else {
        return Err(io::Error::other("the read never completed"));
    };
    match completion.result() {
        8 if &found == wanted => Ok(()),
        result if result < 0 => Err(io::Error::from_raw_os_error(-result)),
        _ => Err(io::Error::other("the read came back with other bytes")),
    }
}

/// The likely cause of a refusal, given what `kernel.io_uring_disabled` says.
fn cause_of(error: &io::Error, sysctl: Option<&str>) -> String {
    let disabled = sysctl.map(str::trim).filter(|value| *value != "0");
    let cause = match (Errno::from_io_error(error), disabled) {
        (Some(Errno::PERM | Errno::ACCESS), Some(value)) => {
            return format!("the sysctl kernel.io_uring_disabled is {value}");
        }
        (Some(Errno::PERM | Errno::ACCESS), None) => {
            "a seccomp profile (Docker's and containerd's default ones do) or a security module forbids it"
        }
        (Some(Errno::NOSYS), _) => {
            "the kernel is older than 5.6 or built without it, or a seccomp profile hides it"
        }
        (Some(Errno::NOMEM), _) => "the limit of locked memory is too small (`ulimit -l`, LimitMEMLOCK=)",
        (Some(Errno::INVAL | Errno::OPNOTSUPP), _) => "the kernel is older than 5.6",
        (Some(Errno::MFILE | Errno::NFILE), _) => "too many open files (`ulimit -n`, LimitNOFILE=)",
        _ => "unknown",
    };
    cause.to_owned()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn refusal(errno: Errno, sysctl: Option<&str>) -> RingRefused {
        let source = io::Error::from(errno);
        RingRefused { operation: "create io_uring", cause: cause_of(&source, sysctl), source }
    }

    #[test]
    fn x14_each_refusal_names_its_cause() {
        let causes: String = [
            (Errno::PERM, Some("2\n")),
            (Errno::PERM, Some("0\n")),
            (Errno::NOSYS, None),
            (Errno::NOMEM, Some("0\n")),
            (Errno::INVAL, Some("0\n")),
            (Errno::MFILE, Some("0\n")),
            (Errno::IO, Some("0\n")),
        ]
        .map(|(errno, sysctl)| refusal(errno, sysctl).cause + "\n")
        .concat();
        expect![[r#"
            the sysctl kernel.io_uring_disabled is 2
            a seccomp profile (Docker's and containerd's default ones do) or a security module forbids it
            the kernel is older than 5.6 or built without it, or a seccomp profile hides it
            the limit of locked memory is too small (`ulimit -l`, LimitMEMLOCK=)
            the kernel is older than 5.6
            too many open files (`ulimit -n`, LimitNOFILE=)
            unknown
        "#]]
        .assert_eq(&causes);
    }

    #[test]
    fn x14_a_refusal_is_one_line_with_a_way_out() {
        let advice = refusal(Errno::PERM, Some("2\n")).advice();
        expect![
            "cannot create io_uring: Operation not permitted (os error 1); \
            likely cause: the sysctl kernel.io_uring_disabled is 2; \
            use `io = \"auto\"` or `--io blocking`"
        ]
        .assert_eq(&advice);
        let instead = Chosen::BlockingInstead(refusal(Errno::NOMEM, None)).to_string();
        expect![
            "reading with blocking calls: \
            cannot create io_uring: Cannot allocate memory (os error 12); \
            likely cause: the limit of locked memory is too small (`ulimit -l`, LimitMEMLOCK=)"
        ]
        .assert_eq(&instead);
    }

    #[test]
    fn blocking_is_never_probed_and_says_that_it_was_asked_for() {
        let chosen = choose("blocking".parse().unwrap()).unwrap();
        assert_eq!(chosen.to_string(), "reading with blocking calls, as configured");
        assert!("ring".parse::<Io>().is_err());
    }
}
