//! As much of Markdown as the documents use: prose, tables, code spans, links.

/// A table, the line of its header, and its rows.
pub struct Table {
    pub header: Vec<String>,
    pub rows: Vec<Row>,
}

pub struct Row {
    pub line: usize,
    pub cells: Vec<String>,
}

/// What a line is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Prose,
    Table,
    Code,
    Blank,
}

/// Each line with its number and kind. Front matter, fences and what they hold are code.
pub fn lines(text: &str) -> Vec<(usize, Kind, &str)> {
    let mut in_code = false;
    let kind = |line: &str| match line.trim_start() {
        "" => Kind::Blank,
        line if line.starts_with('|') => Kind::Table,
        _ => Kind::Prose,
    };
    let numbered = text.lines().enumerate().map(|(index, line)| {
        let fence = line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~");
        let front_matter = line == "---" && (index == 0 || (in_code && text.starts_with("---\n")));
        let was_in_code = in_code;
        if fence || front_matter {
            in_code = !in_code;
        }
        (index + 1, if fence || front_matter || was_in_code { Kind::Code } else { kind(line) }, line)
    });
    numbered.collect()
}

pub fn tables(text: &str) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    let mut inside = false;
    for (line, kind, text) in lines(text) {
        if kind != Kind::Table {
            inside = false;
            continue;
        }
        let cells = cells(text);
        let rule = cells.iter().all(|cell| !cell.is_empty() && cell.chars().all(|c| c == '-' || c == ':'));
        match tables.last_mut().filter(|_| inside) {
            Some(_) if rule => {}
            Some(table) => table.rows.push(Row { line, cells }),
            None => tables.push(Table { header: cells, rows: Vec::new() }),
        }
        inside = true;
    }
    tables
}

fn cells(line: &str) -> Vec<String> {
    line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect()
}

/// What stands between single backticks.
pub fn code_spans(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_string).collect()
}

/// The targets of links and images, without titles and anchors; addresses of the web are left out.
pub fn link_targets(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ', '#']).next());
    targets.filter(|target| !target.is_empty() && !target.contains("://")).map(str::to_string).collect()
}

/// A sentence, and the line that it begins on.
#[derive(Debug, PartialEq, Eq)]
pub struct Sentence {
    pub line: usize,
    pub words: Vec<String>,
}

/// The sentences of the prose: code spans count as a word, links as their text. Items of lists, headings and paragraphs end a sentence.
pub fn sentences(text: &str) -> Vec<Sentence> {
    let mut sentences: Vec<Sentence> = Vec::new();
    let mut open = false;
    for (line, kind, text) in lines(text) {
        if kind != Kind::Prose || starts_block(text) {
            open = false;
        }
        if kind != Kind::Prose {
            continue;
        }
        for word in plain(text).split_whitespace() {
            let begins = word.starts_with(|c: char| c.is_uppercase() || c.is_numeric() || "`[*(\"".contains(c));
            let ended = sentences.last().is_none_or(|last| last.words.last().is_some_and(|word| ends_sentence(word)));
            if !open || (ended && begins) {
                sentences.push(Sentence { line, words: Vec::new() });
            }
            open = true;
            sentences.last_mut().expect("one is open").words.push(word.to_string());
        }
        if text.starts_with('#') {
            open = false;
        }
    }
    sentences.iter_mut().for_each(|sentence| sentence.words.retain(|word| word.chars().any(char::is_alphanumeric)));
    sentences
}

fn starts_block(line: &str) -> bool {
    let line = line.trim_start();
    let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    line.starts_with("- ") || line.starts_with('#') || (number.len() < line.len() && number.starts_with(". "))
}

fn ends_sentence(word: &str) -> bool {
    let word = word.trim_end_matches([')', '"', '*']);
    word.ends_with(['.', '?', '!']) && !word.ends_with("..") && !["e.g.", "i.e.", "Perm."].contains(&word)
}

/// Code spans as one word without signs, links as their text.
fn plain(line: &str) -> String {
    let mut out = String::new();
    for (index, part) in line.split('`').enumerate() {
        out.push_str(if index % 2 == 1 { "`code`" } else { part });
    }
    while let Some(at) = out.find("](") {
        let end = out[at..].find(')').map_or(out.len(), |end| at + end + 1);
        out.replace_range(at..end, "");
    }
    out.replace('[', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read() {
        let text = "a\n\n| x | y, ms |\n| --- | ---: |\n| `k/l` | 3 |\n\n| z |\n|---|\n| 1 |\n```\n| no |\n```\n";
        let tables = tables(text);
        assert_eq!(tables.len(), 2);
        assert_eq!(
            (tables[0].header.clone(), tables[0].rows[0].cells.clone()),
            (vec!["x".into(), "y, ms".into()], vec!["`k/l`".into(), "3".into()])
        );
        assert_eq!((tables[0].rows[0].line, tables[1].rows.len()), (5, 1));
    }

    #[test]
    fn sentences_are_told_apart() {
        let text = "# Title\nOne two. Three `a b. C` four\nfive, e.g. Six.\n- item one\n- [item two](x.md), .. and. So on\n\nEnd";
        let words: Vec<(usize, usize)> = sentences(text).iter().map(|s| (s.line, s.words.len())).collect();
        assert_eq!(words, [(1, 1), (2, 2), (2, 6), (4, 2), (5, 3), (5, 2), (7, 1)]);
    }

    #[test]
    fn links_and_code_are_found() {
        assert_eq!(link_targets("[a](b.md#c) ![d](e.svg) [f](https://g) [h](#i)"), ["b.md", "e.svg"]);
        assert_eq!(code_spans("a `b` c `d/e`"), ["b", "d/e"]);
    }
}
