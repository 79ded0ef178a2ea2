//! When a disk counts as nearly full.

use std::fmt;
use std::str::FromStr;

/// So much must be free: a share of the disk, or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threshold {
    /// Hundredths of the disk.
    Percent(u8),
    /// Bytes.
    Bytes(u64),
}

impl Threshold {
    /// Whether less than this is free.
    pub fn undercut(self, free: u64, total: u64) -> bool {
        match self {
            Self::Percent(percent) => u128::from(free) * 100 < u128::from(total) * u128::from(percent),
            Self::Bytes(bytes) => free < bytes,
        }
    }
}

impl Default for Threshold {
    fn default() -> Self {
        Self::Percent(10)
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Bytes(bytes) => write!(f, "{bytes} B"),
        }
    }
}

impl FromStr for Threshold {
    type Err = ();
    /// Reads a share, `10%`; sizes are read by who knows their units.
    fn from_str(text: &str) -> Result<Self, ()> {
        let number = text.strip_suffix('%').ok_or(())?.trim_end();
        let percent = number.parse::<u8>().ok().filter(|n| (1..=90).contains(n));
        percent.map(Self::Percent).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_or_a_size() {
        let tenth: Threshold = "10%".parse().unwrap();
        assert!(tenth.undercut(9, 100) && !tenth.undercut(10, 100));
        assert!(tenth.undercut(u64::MAX / 11, u64::MAX) && !tenth.undercut(u64::MAX / 9, u64::MAX));
        assert!(Threshold::Bytes(5).undercut(4, 100) && !Threshold::Bytes(5).undercut(5, 100));
        for bad in ["0%", "91%", "10", "%", "-1%"] {
            assert!(bad.parse::<Threshold>().is_err(), "{bad}");
        }
    }
}
