//! Texts that others wrote, made safe to show: what a terminal obeys, what breaks a line and what turns or hides the writing.

use std::fmt::Write as _;

/// Whether `c` has no form of its own on a page but changes what a reader sees: control characters (Unicode Cc), separators of lines
/// and paragraphs, marks of the direction of writing (UAX #9), characters without width, annotations and tags.
///
/// One line of text from a stranger holds none of these; [`visible`] shows them where they are there nevertheless.
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{FEFF}'
                | '\u{200B}'..='\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{FFF9}'..='\u{FFFB}'
                | '\u{E0000}'..='\u{E007F}'
        )
}

/// The text on one line, each character that [`is_unseen`] written as `\u{202e}`: so that it can neither steer a terminal, nor pretend
/// to be a line of the program's own, nor read otherwise than it is.
#[must_use]
pub fn visible(text: &str) -> String {
    shown(text, |_| false)
}

/// As [`visible`], but line feeds and tabs stay: for texts of the program's own that quote others.
#[must_use]
pub fn visible_lines(text: &str) -> String {
    shown(text, |c| matches!(c, '\n' | '\t'))
}

fn shown(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unseen(c) && !stays(c) {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_or_a_reader_is_shown() {
        let evil = "\u{1b}[2J\u{1b}[H\n[ĐẠT / OK]\r\u{9b}\u{7f}\u{85}";
        assert_eq!(visible(evil), "\\u{1b}[2J\\u{1b}[H\\u{a}[ĐẠT / OK]\\u{d}\\u{9b}\\u{7f}\\u{85}");
        for c in "\u{ad}\u{61c}\u{200b}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}\u{feff}\u{fff9}\u{e0041}".chars() {
            assert!(is_unseen(c), "{c:?}");
            assert_eq!(visible(&format!("a{c}b")), format!("a\\u{{{:x}}}b", c as u32));
        }
    }

    #[test]
    fn a_text_for_people_stays_as_it_is() {
        let text = "Xác minh công dân (điều 5) — “2026/11”, 한국, עברית, 𝒜";
        assert_eq!(visible(text), text);
        assert_eq!(visible_lines("một\n\thai\r"), "một\n\thai\\u{d}");
    }
}
