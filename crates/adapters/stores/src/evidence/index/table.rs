//! Sorted rows of one length in a file, in blocks with a checksum each. The first row of every block is in memory, so that a row is found by
//! reading one block.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;

use crate::journal::format::Reader;

/// Rows in a block.
const BLOCK: u64 = 256;

/// Writes a table's rows one by one.
pub(super) struct TableWriter {
    width: usize,
    offset: u64,
    rows: u64,
    block: Vec<u8>,
    heads: Vec<u8>,
}

impl TableWriter {
    /// A table of rows of `width` bytes at `offset` in its file.
    pub(super) fn new(width: usize, offset: u64) -> Self {
        Self { width, offset, rows: 0, block: Vec::new(), heads: Vec::new() }
    }

    pub(super) fn push(&mut self, to: &mut impl Write, row: &[u8]) -> io::Result<()> {
        self.block.extend_from_slice(row);
        self.rows += 1;
        if self.rows.is_multiple_of(BLOCK) { self.end_block(to) } else { Ok(()) }
    }

    fn end_block(&mut self, to: &mut impl Write) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        self.heads.extend_from_slice(self.block.get(..self.width).unwrap_or_default());
        self.heads.extend_from_slice(&crc32c::crc32c(&self.block).to_be_bytes());
        to.write_all(&self.block)?;
        self.block.clear();
        Ok(())
    }

    /// Ends the table; returns what a reader needs and the offset behind it.
    pub(super) fn finish(mut self, to: &mut impl Write) -> io::Result<(Vec<u8>, u64)> {
        self.end_block(to)?;
        let mut out = Vec::with_capacity(24 + self.heads.len());
        for number in [self.width as u64, self.offset, self.rows] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.heads);
        Ok((out, self.offset + self.rows * self.width as u64))
    }
}

/// A table as its reader knows it.
#[derive(Debug)]
pub(super) struct Table {
    width: usize,
    offset: u64,
    rows: u64,
    /// Of each block the first row and the checksum.
    heads: Vec<u8>,
}

/// Bytes that are not what was written.
pub(super) const BROKEN: &str = "a run of the index is damaged";

impl Table {
    pub(super) fn decode(r: &mut Reader<'_>) -> Option<Self> {
        let (width, offset, rows) = (r.u64()?, r.u64()?, r.u64()?);
        let width = usize::try_from(width).ok().filter(|w| (1..=4096).contains(w))?;
        let blocks = usize::try_from(rows.div_ceil(BLOCK)).ok()?;
        let heads = r.take(blocks.checked_mul(width + 4)?)?.to_vec();
        Some(Self { width, offset, rows, heads })
    }

    pub(super) const fn rows(&self) -> u64 {
        self.rows
    }

    fn head(&self, block: u64) -> Option<(&[u8], u32)> {
        let at = usize::try_from(block).ok()?.checked_mul(self.width + 4)?;
        let (row, crc) = self.heads.get(at..at + self.width + 4)?.split_at(self.width);
        Some((row, u32::from_be_bytes(crc.try_into().ok()?)))
    }

    /// A whole block.
    fn block(&self, file: &File, block: u64) -> Result<Vec<u8>, String> {
        let rows = self.rows.saturating_sub(block * BLOCK).min(BLOCK);
        let (_, crc) = self.head(block).ok_or(BROKEN)?;
        let length = usize::try_from(rows).map_err(|e| e.to_string())? * self.width;
        let mut bytes = vec![0; length];
        let at = self.offset + block * BLOCK * self.width as u64;
        file.read_exact_at(&mut bytes, at).map_err(|e| e.to_string())?;
        if crc32c::crc32c(&bytes) == crc { Ok(bytes) } else { Err(BROKEN.into()) }
    }

    /// The row with this number.
    pub(super) fn row(&self, file: &File, number: u64) -> Result<Option<Vec<u8>>, String> {
        if number >= self.rows {
            return Ok(None);
        }
        let block = self.block(file, number / BLOCK)?;
        let at = usize::try_from(number % BLOCK).map_err(|e| e.to_string())? * self.width;
        Ok(Some(block.get(at..at + self.width).ok_or(BROKEN)?.to_vec()))
    }

    /// The number of the first row that is not below `key`.
    pub(super) fn lower_bound(&self, file: &File, key: &[u8]) -> Result<u64, String> {
        let (mut low, mut high) = (0, self.rows.div_ceil(BLOCK));
        // The first block that begins at or above the key; the row is in the one before it, or is that block's first.
        while low < high {
            let middle = u64::midpoint(low, high);
            if self.head(middle).ok_or(BROKEN)?.0 < key { low = middle + 1 } else { high = middle }
        }
        let Some(before) = low.checked_sub(1) else { return Ok(0) };
        let rows = self.block(file, before)?;
        let below = rows.chunks_exact(self.width).take_while(|row| *row < key).count() as u64;
        Ok(before * BLOCK + below)
    }

    /// The rows from `from` up to before `to`, the last first or the first first.
    pub(super) fn walk(&self, from: u64, to: u64) -> Walk {
        Walk { from, to: to.min(self.rows), block: Vec::new(), at: None }
    }
}

/// A place in a table, moving; keeps the block that it is in.
pub(super) struct Walk {
    from: u64,
    to: u64,
    block: Vec<u8>,
    at: Option<u64>,
}

impl Walk {
    fn row<'a>(&'a mut self, table: &Table, file: &File, number: u64) -> Result<&'a [u8], String> {
        let wanted = number / BLOCK;
        if self.at != Some(wanted) {
            self.block = table.block(file, wanted)?;
            self.at = Some(wanted);
        }
        let at = usize::try_from(number % BLOCK).map_err(|e| e.to_string())? * table.width;
        Ok(self.block.get(at..at + table.width).ok_or(BROKEN)?)
    }

    pub(super) fn next<'a>(&'a mut self, table: &Table, file: &File) -> Result<Option<&'a [u8]>, String> {
        if self.from >= self.to {
            return Ok(None);
        }
        self.from += 1;
        self.row(table, file, self.from - 1).map(Some)
    }

    pub(super) fn next_back<'a>(
        &'a mut self,
        table: &Table,
        file: &File,
    ) -> Result<Option<&'a [u8]>, String> {
        if self.from >= self.to {
            return Ok(None);
        }
        self.to -= 1;
        self.row(table, file, self.to).map(Some)
    }

    /// How many rows are left.
    pub(super) const fn left(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}
