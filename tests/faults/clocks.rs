//! Clocks that can be set: the processes of a bus run under libfaketime, which reads in a file how far each clock is off. Only the
//! time of day is moved.

use std::path::{Path, PathBuf};

use crate::process_ground::skip;
use crate::support::TRUC;

const LIBRARIES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

/// Where libfaketime is; `None` skips the test, loudly.
pub(crate) fn library(test: &str) -> Option<&'static str> {
    let found = LIBRARIES.into_iter().find(|file| Path::new(file).exists());
    if found.is_none() {
        skip(test, "it needs libfaketime (Debian: faketime)");
    }
    found
}

/// The clock of whoever has none of its own.
pub(crate) const OTHERS: &str = "others";

/// The clocks of one bus.
pub(crate) struct Clocks(PathBuf);

impl Clocks {
    /// Clocks that are all `seconds` ahead of the machine's: one for each of these nodes' folders and one for everybody else; and the
    /// program that runs the binary by them.
    pub(crate) fn new(dir: &Path, library: &str, own: &[&str], seconds: i64) -> (Self, PathBuf) {
        let clocks = Self(dir.join("clocks"));
        std::fs::create_dir(&clocks.0).unwrap();
        own.iter().chain([&OTHERS]).for_each(|clock| clocks.set(clock, seconds));
        let program = clocks.wrapper(&dir.join("truc-with-a-clock"), library, own);
        (clocks, program)
    }

    /// Puts a clock `seconds` ahead of the machine's, in one step.
    pub(crate) fn set(&self, clock: &str, seconds: i64) {
        let new = self.0.join(format!("{clock}.new"));
        std::fs::write(&new, format!("{seconds:+}")).unwrap();
        std::fs::rename(&new, self.0.join(clock)).unwrap();
    }

    /// What lets a program that is not ours go by the clock of the others.
    pub(crate) fn of_others(&self, library: &str) -> [(&'static str, String); 6] {
        let file = self.0.join(OTHERS).display().to_string();
        let one = || "1".to_owned();
        [
            ("LD_PRELOAD", library.to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", file),
            ("FAKETIME_NO_CACHE", one()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", one()),
            ("DONT_FAKE_MONOTONIC", one()),
            ("NO_FAKE_STAT", one()),
        ]
    }

    fn wrapper(&self, file: &Path, library: &str, own: &[&str]) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let cases: String = own.iter().map(|clock| format!("*nodes/{clock}/*) clock={clock} ;;\n")).collect();
        let script = format!(
            "#!/bin/sh\n\
             case \"$*\" in\n\
             {cases}*) clock={OTHERS} ;;\n\
             esac\n\
             export LD_PRELOAD='{library}' FAKETIME_TIMESTAMP_FILE='{}'/$clock FAKETIME_NO_CACHE=1\n\
             export FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1\n\
             exec '{TRUC}' \"$@\"\n",
            self.0.display()
        );
        std::fs::write(file, script).unwrap();
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
        file.to_owned()
    }
}
