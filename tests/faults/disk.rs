//! File systems of their own for a data folder, and what can go wrong with them. Needs root.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

/// True when these programs are there and mounting is allowed; otherwise says so loudly, and fails when nothing may be skipped.
pub(crate) fn able(programs: &[&str]) -> bool {
    let mut missing: Vec<String> = programs
        .iter()
        .filter(|program| !ran("sh", &["-c", &format!("command -v {program}")]))
        .map(|program| format!("the program {program}"))
        .collect();
    if missing.is_empty() && programs.contains(&"mount") {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_str().unwrap();
        if ran("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs", at]) {
            assert!(ran("umount", &[at]));
        } else {
            missing.push("the right to mount (root)".into());
        }
    }
    if missing.is_empty() {
        return true;
    }
    let sentence = format!("SKIPPED: this fault needs {}", missing.join(", "));
    assert!(std::env::var_os("TRUC_REQUIRE_ALL").is_none(), "{sentence}");
    eprintln!("{sentence}");
    false
}

fn ran(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}

fn must(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A file system, mounted for as long as this lives.
pub(crate) struct Disk {
    kind: &'static str,
    folder: TempDir,
}

impl Disk {
    /// A file system of this kind on a file behind a loop device.
    pub(crate) fn on_loop(kind: &'static str) -> Self {
        let disk = Self::unmounted(kind);
        std::fs::File::create(disk.image()).unwrap().set_len(512 << 20).unwrap();
        let quiet: &[&str] = if kind == "ext4" { &["-q", "-F"] } else { &["-q"] };
        must(&format!("mkfs.{kind}"), &[quiet, &[text(&disk.image())]].concat());
        disk.mount();
        disk
    }

    /// A file system in memory that holds so many MiB.
    pub(crate) fn in_memory(size: u32) -> Self {
        let disk = Self::unmounted("tmpfs");
        let size = format!("size={size}m");
        must("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", text(&disk.place())]);
        disk
    }

    fn unmounted(kind: &'static str) -> Self {
        let disk = Self { kind, folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(disk.place()).unwrap();
        disk
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }
    /// Where it is mounted.
    pub(crate) fn place(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    fn mount(&self) {
        // An error in the file system makes it read-only, as a careful operator has it.
        let options = if self.kind == "ext4" { "loop,errors=remount-ro" } else { "loop" };
        must("mount", &["-o", options, text(&self.image()), text(&self.place())]);
    }

    /// Moves a data folder here. Nothing may run on it.
    pub(crate) fn take(&self, data: &Path) {
        let here = self.place().join("data");
        must("cp", &["-a", text(data), text(&here)]);
        std::fs::remove_dir_all(data).unwrap();
        std::os::unix::fs::symlink(&here, data).unwrap();
        must("sync", &["-f", text(&here)]);
    }

    /// What a power cut leaves on disk, at this moment: the file system takes nothing more.
    pub(crate) fn cut(&self) {
        must("xfs_io", &["-x", "-c", "shutdown", text(&self.place())]);
    }

    /// An error in the file system's own structures: from now on it is read-only (ext4).
    pub(crate) fn break_structures(&self) {
        let source =
            Command::new("findmnt").args(["-n", "-o", "SOURCE", text(&self.place())]).output().unwrap();
        let source = String::from_utf8(source.stdout).unwrap();
        let device = source.trim().rsplit('/').next().unwrap();
        std::fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1").unwrap();
    }

    /// Unmounts it and mounts it again, as the next start of the machine does. Nobody may use it.
    pub(crate) fn again(&self) {
        self.unmount();
        self.mount();
    }

    fn unmount(&self) {
        for _ in 0..250 {
            if ran("umount", &[text(&self.place())]) {
                return;
            }
            // Whoever was killed lets go of its files a moment later.
            std::thread::sleep(Duration::from_millis(20));
        }
        must("umount", &["-l", text(&self.place())]);
    }

    /// Changes the size of one in memory, in MiB.
    pub(crate) fn resize(&self, size: u32) {
        must("mount", &["-o", &format!("remount,size={size}m"), text(&self.place())]);
    }

    /// MiB in use.
    pub(crate) fn used(&self) -> u32 {
        let output =
            Command::new("df").args(["--output=used", "-B1M", text(&self.place())]).output().unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        output.lines().nth(1).unwrap().trim().parse().unwrap()
    }

    /// Takes all that is free.
    pub(crate) fn fill(&self) {
        let ballast = std::fs::File::create(self.place().join("ballast")).unwrap();
        let mut writer = std::io::BufWriter::new(ballast);
        std::io::copy(&mut std::io::repeat(7), &mut writer).unwrap_err();
    }
    /// Gives back what [`Disk::fill`] took.
    pub(crate) fn empty(&self) {
        std::fs::remove_file(self.place().join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.unmount();
    }
}
