//! Says what happens, in plain words, Vietnamese first.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::steps::Tally;
use crate::bus::{Layout, Process, Processes};

/// A line on standard output. Whoever has stopped reading is no reason to stop the bus.
macro_rules! say {
    ($($words:tt)*) => {
        drop(writeln!(std::io::stdout(), $($words)*))
    };
}

/// A line on standard error.
macro_rules! note {
    ($($words:tt)*) => {
        drop(writeln!(std::io::stderr(), $($words)*))
    };
}

/// Tells on standard output; progress goes to standard error.
pub(crate) struct Teller;

/// How a step ended.
pub(crate) enum Ended {
    /// As told, with what was seen.
    Well(String),
    /// It could not be tried here; the reason and the command to try it by hand.
    Skipped(String),
}

impl Teller {
    pub(crate) const fn new() -> Self {
        Self
    }

    pub(crate) fn opening(&self, dir: &Path) {
        say!("Trục: cả một trục liên thông dữ liệu trên máy này / a whole data bus on this machine");
        say!("Mọi người trong câu chuyện đều là DỮ LIỆU GIẢ LẬP / everybody in this story is synthetic");
        say!("Thư mục / folder: {}\n", dir.display());
    }

    pub(crate) fn progress(&self, begun: Instant, what: &str) {
        note!("  [{:>5.1} s] {what} …", begun.elapsed().as_secs_f64());
    }

    pub(crate) fn standing(&self, begun: Instant, nodes: usize) {
        let seconds = begun.elapsed().as_secs_f64();
        say!(
            "Trục đã chạy sau {} s: sổ đăng ký, PKI thử nghiệm, {nodes} nút, 2 CSDL, mỗi phần một tiến trình.\n\
             The bus stands after {seconds:.1} s: registry, pilot PKI, {nodes} nodes, 2 registers, each its own process.\n",
            vietnamese(seconds),
        );
    }

    pub(crate) fn step(&self, number: usize, vi: &str, en: &str) {
        say!("{number:>2}. {vi}\n    {en}");
    }

    pub(crate) fn ended(&self, ended: &Result<Ended, String>, took: Duration) {
        let ms = took.as_secs_f64() * 1000.0;
        match ended {
            Ok(Ended::Well(seen)) => say!("    ✔ {}   ({ms:.0} ms)\n", indented(seen)),
            Ok(Ended::Skipped(why)) => say!("    ‼ SKIPPED / BỎ QUA: {}\n", indented(why)),
            Err(why) => say!("    ✘ KHÔNG NHƯ KỂ / NOT AS TOLD: {}   ({ms:.0} ms)\n", indented(why)),
        }
    }

    pub(crate) fn closing(&self, begun: Instant, tally: Tally) {
        let seconds = begun.elapsed().as_secs_f64();
        let Tally { well, skipped, failed } = tally;
        let vi = vietnamese(seconds);
        match (skipped, failed) {
            (0, 0) => {
                say!("Mọi bước diễn ra đúng như kể, {vi} s. / Every step went as told, {seconds:.1} s.")
            }
            (_, 0) => say!(
                "{well} bước đúng như kể, {skipped} bước BỎ QUA, {vi} s. / {well} steps as told, {skipped} SKIPPED, {seconds:.1} s."
            ),
            _ => say!(
                "{failed} bước KHÔNG như kể, {vi} s. / {failed} steps did NOT go as told, {seconds:.1} s."
            ),
        }
    }

    /// One of the bus's processes has ended by itself.
    pub(crate) fn lost(&self, process: &Process, log: &Path, program: &Path) {
        say!(
            "‼ Tiến trình đã dừng / process has ended: {} (log: {}). {}",
            process.name,
            log.display(),
            process.command(program)
        );
    }

    pub(crate) fn staying(&self, layout: &Layout, processes: &Processes, program: &Path) {
        say!("\nTrục vẫn chạy; nhấn Ctrl-C để dừng. / The bus stays up; Ctrl-C ends it.");
        say!("Mô tả / description: {}", layout.dir.join("demo.json").display());
        say!("Chạy lại từng phần bằng tay / to start any one process again by hand:");
        let mut all = vec![processes.pki(), processes.registry()];
        all.extend(processes.registers());
        all.extend(layout.enrolled().map(|plan| processes.node(plan)));
        for process in all {
            say!("  {:<12} {}", process.name, process.command(program));
        }
        if let Ok(desk) = layout.node("H26") {
            say!("\nThử một lời gọi / try a call:");
            say!(
                "  {} call --config {} --client VN/GOV/H26/mot-cua-so-1 --user cb-0123 --purpose 1.004194 \\\n    VN/GOV/G10/csdl-datdai/tra-cuu-thua-dat GET '/thua-dat?chuSuDung=099190000025'",
                program.display(),
                layout.node_config(desk).display()
            );
        }
    }
}

/// Seconds with a decimal comma.
fn vietnamese(seconds: f64) -> String {
    format!("{seconds:.1}").replace('.', ",")
}

fn indented(text: &str) -> String {
    text.replace('\n', "\n      ")
}
