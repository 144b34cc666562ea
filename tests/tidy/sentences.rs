//! Lines and sentences that a reader takes in at once.

use crate::{
    markdown::{self, Kind},
    File,
};

const MAX_COLUMNS: usize = 140;
const MAX_WORDS: usize = 30;

pub fn long_lines(documents: &[File]) -> Vec<String> {
    let mut violations = Vec::new();
    for document in documents {
        for (line, kind, text) in markdown::lines(&document.text) {
            let columns = text.chars().count();
            if kind != Kind::Table && columns > MAX_COLUMNS {
                violations.push(format!("{}:{line}: {columns} columns", document.path));
            }
        }
    }
    violations
}

pub fn long_sentences(documents: &[File]) -> Vec<String> {
    let mut violations = Vec::new();
    for document in documents {
        for sentence in markdown::sentences(&document.text) {
            let words = sentence.words.len();
            if words > MAX_WORDS {
                let begin = sentence.words[..6].join(" ");
                violations.push(format!("{}:{}: {words} words: {begin} ..", document.path, sentence.line));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_lines_are_found() {
        let text = format!("{}\n{}\n| {} |\n", "a".repeat(140), "b".repeat(141), "c".repeat(200));
        assert_eq!(long_lines(&[File::new("a.md", &text)]), ["a.md:2: 141 columns"]);
    }

    #[test]
    fn planted_sentences_are_found() {
        let text = format!("Short one.\n{}end.\n{}end.\n", "Word word ".repeat(15), "Word, ".repeat(29));
        assert_eq!(long_sentences(&[File::new("a.md", &text)]), ["a.md:2: 31 words: Word word Word word Word word .."]);
    }
}
