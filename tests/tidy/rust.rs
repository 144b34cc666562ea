//! The paths that Rust source names: a reader of `use` trees and of inline paths, after comments and literals are gone.

/// `a::b::c`, where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPath {
    pub line: usize,
    pub segments: Vec<String>,
}

/// All paths of at least two segments outside of comments and literals. Trees of `use` are spread out: `use a::{b, c::d};` are two paths.
pub fn paths(source: &str) -> Vec<NamedPath> {
    let text = blank(source);
    let mut reader = Reader { tokens: tokens(&text), at: 0 };
    let mut found = Vec::new();
    while reader.at < reader.tokens.len() {
        if reader.peek() == Some("use") {
            reader.at += 1;
            reader.tree(&[], &mut found);
        } else if reader.is_name() {
            let line = reader.tokens[reader.at].0;
            let segments = reader.segments();
            found.push(NamedPath { line, segments });
        } else {
            reader.at += 1;
        }
    }
    found.retain(|path| path.segments.len() > 1);
    found
}

/// The part of a file before its `#[cfg(test)] mod tests { .. }`, which stands last.
pub fn without_tests(source: &str) -> &str {
    source.split("#[cfg(test)]\nmod tests {").next().unwrap_or(source)
}

/// The source with comments, strings and characters replaced by blanks, line by line as before.
fn blank(source: &str) -> String {
    let bytes: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(&bytes, at);
        if end == at {
            out.push(bytes[at]);
            at += 1;
        } else {
            bytes[at..end].iter().for_each(|c| out.push(if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends; `at` if none does.
fn literal_end(text: &[char], at: usize) -> usize {
    let next = text.get(at + 1).copied();
    match text[at] {
        '/' if next == Some('/') => at + text[at..].iter().take_while(|c| **c != '\n').count(),
        '/' if next == Some('*') => closing(text, at + 2, &['*', '/']),
        '"' => string_end(text, at + 1),
        'r' if next == Some('"') && !follows_name(text, at) => closing(text, at + 2, &['"']),
        'r' if next == Some('#') && text.get(at + 2) == Some(&'"') => closing(text, at + 3, &['"', '#']),
        '\'' if next == Some('\\') => closing(text, at + 3, &['\'']),
        '\'' if text.get(at + 2) == Some(&'\'') => at + 3,
        _ => at,
    }
}

fn follows_name(text: &[char], at: usize) -> bool {
    at > 0 && (text[at - 1].is_alphanumeric() || text[at - 1] == '_')
}

fn closing(text: &[char], from: usize, end: &[char]) -> usize {
    (from..text.len()).find(|at| text[*at..].starts_with(end)).map_or(text.len(), |at| at + end.len())
}

fn string_end(text: &[char], mut at: usize) -> usize {
    while at < text.len() && text[at] != '"' {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    text.len().min(at + 1)
}

/// Names, `::` and single signs, each with its line.
fn tokens(text: &str) -> Vec<(usize, String)> {
    let mut tokens = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let name = |c: char| c.is_alphanumeric() || c == '_';
            let length = match first {
                _ if rest.starts_with("::") => 2,
                c if name(c) => rest.find(|c| !name(c)).unwrap_or(rest.len()),
                c => c.len_utf8(),
            };
            tokens.push((number + 1, rest[..length].to_string()));
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

struct Reader {
    tokens: Vec<(usize, String)>,
    at: usize,
}

impl Reader {
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).map(|(_, token)| token.as_str())
    }

    fn is_name(&self) -> bool {
        self.peek().is_some_and(|token| token.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    }

    fn skip(&mut self, token: &str) -> bool {
        let is = self.peek() == Some(token);
        self.at += usize::from(is);
        is
    }

    /// `a::b::c`, up to what is no name.
    fn segments(&mut self) -> Vec<String> {
        let mut segments = Vec::new();
        while self.is_name() {
            segments.push(self.tokens[self.at].1.clone());
            self.at += 1;
            let more = self.tokens.get(self.at + 1).is_some_and(|(_, next)| next != "{" && next != "*" && next != "<");
            if !(self.peek() == Some("::") && more) {
                break;
            }
            self.at += 1;
        }
        segments
    }

    /// A tree of `use` below `prefix`.
    fn tree(&mut self, prefix: &[String], found: &mut Vec<NamedPath>) {
        let line = self.tokens.get(self.at).map_or(0, |(line, _)| *line);
        self.skip("::");
        let mut segments = prefix.to_vec();
        segments.extend(self.segments());
        self.skip("::");
        if self.skip("{") {
            while self.peek().is_some() && !self.skip("}") {
                self.tree(&segments, found);
                self.skip(",");
            }
            return;
        }
        if self.skip("*") {
            segments.push("*".to_string());
        }
        found.push(NamedPath { line, segments });
        if self.skip("as") {
            self.at += 1;
        }
        // what no tree holds: go on behind it, so that a reader of anything ends
        if !matches!(self.peek(), Some("," | "}" | ";") | None) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(source: &str) -> Vec<String> {
        paths(source).into_iter().map(|path| format!("{} {}", path.line, path.segments.join("::"))).collect()
    }

    #[test]
    fn trees_are_spread_out() {
        let source = "use std::fmt;\npub(crate) use crate::{\n    a::{b, c as d, self},\n    e::*,\n    kernel,\n};\nuse super::x::Y as _;\n";
        assert_eq!(
            named(source),
            [
                "1 std::fmt",
                "3 crate::a::b",
                "3 crate::a::c",
                "3 crate::a::self",
                "4 crate::e::*",
                "5 crate::kernel",
                "7 super::x::Y"
            ]
        );
    }

    #[test]
    fn inline_paths_are_found() {
        assert_eq!(
            named("fn f() -> crate::stages::X<u8> { wgpu::Device::<T>::new(a.b) }"),
            ["1 crate::stages::X", "1 wgpu::Device"]
        );
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        let source = "/// crate::stages::X\n/* a::b */ let s = \"c::d \\\" e::f\"; let c = ':'; let r = r#\"g::h\"#; let t: &'a u8 = i::j;\n";
        assert_eq!(named(source), ["2 i::j"]);
    }

    #[test]
    fn tests_of_a_file_are_cut_off() {
        assert_eq!(without_tests("use a::b;\n#[cfg(test)]\nmod tests {\n    use c::d;\n}\n"), "use a::b;\n");
    }
}
