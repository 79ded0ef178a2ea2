//! Path templates as patterns.

use std::iter::Peekable;
use std::str::Chars;

use crate::glob::PathGlob;

/// The pattern of a path template: a parameter is `*`, everything else stands for itself, decoded as patterns are.
pub(super) fn pattern(template: &str) -> Result<PathGlob, String> {
    if template.contains(['?', '#']) {
        return Err("a path has no query or fragment".to_owned());
    }
    let mut out = String::with_capacity(template.len());
    let mut bytes = Vec::new();
    let mut rest = template.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '{' => {
                plain(&mut out, &mut bytes)?;
                skip_parameter(&mut rest)?;
                // Two parameters side by side are still one run of characters; `**` would be any depth.
                if !ends_in_star(&out) {
                    out.push('*');
                }
            }
            '}' => return Err("a } has no { before it".to_owned()),
            '/' => {
                plain(&mut out, &mut bytes)?;
                out.push('/');
            }
            '%' => bytes.push(coded(&mut rest)),
            c => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    plain(&mut out, &mut bytes)?;
    out.parse().map_err(|e: crate::InvalidGlob| e.to_string())
}

/// Writes what stands for itself, with `\` before the characters that mean something in a pattern.
fn plain(out: &mut String, bytes: &mut Vec<u8>) -> Result<(), String> {
    let text = String::from_utf8(std::mem::take(bytes)).map_err(|_| "it is not UTF-8".to_owned())?;
    for c in text.chars() {
        if matches!(c, '*' | '\\' | '/') {
            out.push('\\');
        }
        out.push(c);
    }
    Ok(())
}

/// True when the last character is a wildcard, not an escaped star.
fn ends_in_star(out: &str) -> bool {
    out.strip_suffix('*')
        .is_some_and(|before| before.chars().rev().take_while(|c| *c == '\\').count() % 2 == 0)
}

fn skip_parameter(rest: &mut Peekable<Chars<'_>>) -> Result<(), String> {
    loop {
        match rest.next() {
            Some('}') => return Ok(()),
            Some('{' | '/') | None => return Err("a { has no } behind it".to_owned()),
            Some(_) => {}
        }
    }
}

/// The byte that `%XY` stands for; a lone `%` stands for itself.
fn coded(rest: &mut Peekable<Chars<'_>>) -> u8 {
    let mut ahead = rest.clone();
    let mut digit = || ahead.next().and_then(|c| c.to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let (Some(high), Some(low)) = (digit(), digit()) else { return b'%' };
    rest.next();
    rest.next();
    high * 16 + low
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn parameters_become_stars() {
        for (template, expected) in [
            ("/", "/"),
            ("/pets/{id}", "/pets/*"),
            ("/pets/{id}.{format}", "/pets/*.*"),
            ("/a/{b}{c}/d", "/a/*/d"),
            ("/a*b\\c", "/a\\*b\\\\c"),
            ("/a%2Ab/{x}", "/a\\*b/*"),
            ("/h%E1%BB%8D%20t%C3%AAn", "/họ tên"),
            ("/a%2Fb", "/a\\/b"),
            ("/100%", "/100%"),
            ("/**", "/\\*\\*"),
        ] {
            assert_eq!(pattern(template).unwrap().as_str(), expected, "{template}");
        }
        for bad in ["", "pets", "/a?b={c}", "/{a", "/a}", "/{a/b}", "/a/../b", "/%FF", "/a\u{1}"] {
            assert!(pattern(bad).is_err(), "{bad}");
        }
    }
}
