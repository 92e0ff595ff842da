//! Runs code on a thread for which the kernel refuses one system call, as a container's profile would.
//!
//! A seccomp filter needs no privilege, holds for the one thread that asked for it (and its children), and
//! ends with it.

use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter, sock_fprog};

/// The result of `story` on a thread where `syscall` fails with `errno`.
pub(crate) fn with_refused<T: Send>(
    syscall: libc::c_long,
    errno: i32,
    story: impl FnOnce() -> T + Send,
) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            refuse(syscall, errno);
            story()
        });
        thread.join().expect("the story panicked")
    })
}

fn refuse(syscall: libc::c_long, errno: i32) {
    let op = |code: u32, jt, jf, k| sock_filter { code: code as u16, jt, jf, k };
    let mut filter = [
        op(BPF_LD | BPF_W | BPF_ABS, 0, 0, 0),
        op(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, syscall as u32),
        op(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        op(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: both calls read their arguments only while they run, and change this thread alone.
    let installed = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    assert!(installed, "seccomp: {}", std::io::Error::last_os_error());
}
