//! Taking TOML apart with its lines: every mistake is gathered, none ends the reading.

use std::fmt::Display;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Mistake;

/// Gathers mistakes of one text.
pub(super) struct Reader {
    /// Where each line begins, in bytes.
    starts: Vec<usize>,
    mistakes: Vec<Mistake>,
}

impl Reader {
    pub(super) fn new(text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        Self { starts: std::iter::once(0).chain(breaks).collect(), mistakes: Vec::new() }
    }

    pub(super) fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    pub(super) fn add(&mut self, line: usize, problem: impl Into<String>) {
        self.mistakes.push(Mistake { line, problem: problem.into() });
    }

    /// The mistakes by line; none twice.
    pub(super) fn finish(mut self) -> Vec<Mistake> {
        self.mistakes.sort();
        self.mistakes.dedup();
        self.mistakes
    }
}

/// One table: its values are asked for by key, and what nobody asked for is a mistake.
pub(super) struct Section<'t, 'i> {
    pub(super) line: usize,
    table: &'t DeTable<'i>,
    asked: Vec<&'static str>,
}

impl<'t, 'i> Section<'t, 'i> {
    pub(super) const fn new(line: usize, table: &'t DeTable<'i>) -> Self {
        Self { line, table, asked: Vec::new() }
    }

    fn value(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'i>>> {
        self.asked.push(key);
        self.table.iter().find(|(name, _)| name.get_ref().as_ref() == key).map(|(_, value)| value)
    }

    /// A text, read as a `T`, with its line.
    pub(super) fn parsed<T: FromStr<Err: Display>>(
        &mut self,
        key: &'static str,
        r: &mut Reader,
    ) -> Option<(usize, T)> {
        let value = self.value(key)?;
        let line = r.line(value.span().start);
        let DeValue::String(text) = value.get_ref() else {
            r.add(line, format!("{key}: write a text in quotes"));
            return None;
        };
        text.parse().map_err(|e| r.add(line, format!("{key}: {e}"))).ok().map(|read| (line, read))
    }

    /// The same, and it must be there; `like` shows what to write.
    pub(super) fn required<T: FromStr<Err: Display>>(
        &mut self,
        key: &'static str,
        like: &str,
        r: &mut Reader,
    ) -> Option<(usize, T)> {
        if !self.table.iter().any(|(name, _)| name.get_ref().as_ref() == key) {
            r.add(self.line, format!("{key}: is missing; write {key} = {like:?}"));
        }
        self.parsed(key, r)
    }

    /// A list of texts, each read as a `T`, with its line.
    pub(super) fn list<T: FromStr<Err: Display>>(
        &mut self,
        key: &'static str,
        r: &mut Reader,
    ) -> Vec<(usize, T)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            r.add(r.line(value.span().start), format!("{key}: write a list of texts, {key} = [\"…\"]"));
            return Vec::new();
        };
        let mut read = Vec::new();
        for item in items.iter() {
            let line = r.line(item.span().start);
            let DeValue::String(text) = item.get_ref() else {
                r.add(line, format!("{key}: write texts in quotes"));
                continue;
            };
            match text.parse() {
                Ok(value) => read.push((line, value)),
                Err(e) => r.add(line, format!("{key}: {e}")),
            }
        }
        read
    }

    pub(super) fn flag(&mut self, key: &'static str, r: &mut Reader) -> bool {
        match self.value(key).map(|value| (value.get_ref(), value.span())) {
            None => false,
            Some((DeValue::Boolean(on), _)) => *on,
            Some((_, span)) => {
                r.add(r.line(span.start), format!("{key}: write true or false without quotes"));
                false
            }
        }
    }

    /// The number as it is written.
    pub(super) fn number(&mut self, key: &'static str) -> Option<(usize, String)> {
        let value = self.value(key)?;
        let text =
            if let DeValue::Integer(number) = value.get_ref() { number.to_string() } else { String::new() };
        Some((value.span().start, text))
    }

    /// The tables `[[key]]`.
    pub(super) fn sections(&mut self, key: &'static str, r: &mut Reader) -> Vec<Self> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let wanted = format!("{key}: write [[{key}]] with two brackets");
        let DeValue::Array(items) = value.get_ref() else {
            r.add(r.line(value.span().start), wanted);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in items.iter() {
            let line = r.line(item.span().start);
            match item.get_ref() {
                DeValue::Table(table) => sections.push(Section::new(line, table)),
                _ => r.add(line, wanted.clone()),
            }
        }
        sections
    }

    /// What was not asked for is not known.
    pub(super) fn finish(self, r: &mut Reader) {
        for (name, _) in self.table.iter() {
            let key = name.get_ref().as_ref();
            if !self.asked.contains(&key) {
                let known = self.asked.join(", ");
                r.add(r.line(name.span().start), format!("{key}: is not known here; known are {known}"));
            }
        }
    }
}
