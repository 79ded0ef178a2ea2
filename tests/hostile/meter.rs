//! What a process takes: memory and open files, as the kernel counts them.

use std::fs;

/// One look at a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    /// Resident memory, MiB.
    pub(crate) memory: u64,
    /// Open files.
    pub(crate) files: usize,
}

/// What a process takes now; it must be alive.
pub(crate) fn taken(pid: u32) -> Taken {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is alive");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("the process is alive");
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    Taken { memory: kib / 1024, files }
}

/// Lets this process, and those that it starts, open as many files as it may.
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let enough = limit.current.is_none_or(|files| files >= 8192);
    assert!(enough, "these attacks need 8192 open files: raise the hard limit (ulimit -Hn)");
}
