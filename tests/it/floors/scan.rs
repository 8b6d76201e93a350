//! Reads from one file which items it defines, which modules it declares and which paths it names.
//!
//! It knows no other file: `tree` finds where a path leads.

use std::collections::BTreeMap;

use super::words::{Token, tokens};

/// The name of the library, by which `main.rs` names it.
pub(super) const LIBRARY: &str = "picluster";

/// The content of a file as far as the rules need it.
#[derive(Default)]
pub(super) struct Scan {
    /// Every path, `use` trees unfolded.
    pub(super) paths: Vec<Path>,
    /// The modules this file declares as files, with the inline modules around them; true where
    /// they are built for tests only.
    pub(super) modules: BTreeMap<Vec<String>, bool>,
    /// The `mod name;` of the file that are built for more than tests, in the order of the text.
    pub(super) rooms: Vec<String>,
    /// The items this file defines: the inline modules around each, and its name.
    pub(super) items: Vec<(Vec<String>, String)>,
}

/// A path as it is written.
pub(super) struct Path {
    /// The line of its last word.
    pub(super) line: usize,
    /// The words between the `::`.
    pub(super) words: Vec<String>,
    /// The inline modules around it.
    pub(super) inside: Vec<String>,
    /// The place of the path in the grammar.
    pub(super) kind: Kind,
    /// True under `#[cfg(test)]`.
    pub(super) test: bool,
}

impl Path {
    /// Whether it is a re-export.
    pub(super) fn is_export(&self) -> bool {
        matches!(self.kind, Kind::Use { exported: true, .. } | Kind::Glob { exported: true })
    }

    /// Whether it begins with the name of an import or of a module inside this file.
    pub(super) fn is_relative(&self) -> bool {
        !matches!(self.words[0].as_str(), "crate" | "self" | "super" | LIBRARY)
    }
}

/// The place of a path in the grammar.
pub(super) enum Kind {
    /// It is imported under a name: its last word, or the one after `as`.
    Use { name: String, exported: bool },
    /// It is imported with `::*`.
    Glob { exported: bool },
    /// It is used in code or in a signature.
    Code,
    /// It is a field, a method, a local name or the end of a longer path, and names no item.
    Local,
}

/// Reads one file.
pub(super) fn scan(text: &str) -> Scan {
    let tokens = tokens(text);
    let mut reader =
        Reader { tokens, at: 0, braces: Vec::new(), test_until: 0, scan: Scan::default() };
    reader.all();
    reader.scan
}

/// The keywords after which the name of an item follows.
const ITEMS: [&str; 7] = ["fn", "struct", "enum", "trait", "type", "const", "static"];
/// Words that begin an item, in which a comma is not the end.
const BEGINS: [&str; 10] =
    ["async", "extern", "impl", "let", "macro_rules", "mod", "unsafe", "use", "union", "where"];

struct Reader {
    tokens: Vec<(usize, Token)>,
    at: usize,
    /// The name of the module that each open brace begins, or none.
    braces: Vec<Option<String>>,
    /// The end of the item under `#[cfg(test)]`, in tokens.
    test_until: usize,
    scan: Scan,
}

impl Reader {
    fn all(&mut self) {
        while let Some((_, token)) = self.tokens.get(self.at) {
            match token {
                Token::Word(word) => match word.as_str() {
                    "mod" if self.word(self.at + 1).is_some() => self.module(),
                    "use" if !self.is_sign(self.at + 1, '<') => self.import(),
                    _ => self.path(),
                },
                Token::Sign(sign) => {
                    match sign {
                        '{' => self.braces.push(None),
                        '}' => drop(self.braces.pop()),
                        '#' if self.is_test_attribute() => {
                            self.test_until = self.test_until.max(self.end_of_item());
                        }
                        _ => {}
                    }
                    self.at += 1;
                }
                Token::Colons => self.at += 1,
            }
        }
    }

    fn word(&self, at: usize) -> Option<&str> {
        match self.tokens.get(at) {
            Some((_, Token::Word(word))) => Some(word),
            _ => None,
        }
    }

    fn is_sign(&self, at: usize, sign: char) -> bool {
        self.tokens.get(at).is_some_and(|(_, token)| *token == Token::Sign(sign))
    }

    fn is_colons(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(|(_, token)| *token == Token::Colons)
    }

    /// The inline modules around the current token.
    fn inside(&self) -> Vec<String> {
        self.braces.iter().flatten().cloned().collect()
    }

    fn is_test(&self) -> bool {
        self.at < self.test_until
    }

    /// Reads `mod name;` or `mod name {`.
    fn module(&mut self) {
        let name = self.word(self.at + 1).unwrap_or_default().to_owned();
        if self.is_sign(self.at + 2, '{') {
            self.braces.push(Some(name));
        } else {
            let mut path = self.inside();
            if path.is_empty() && !self.is_test() {
                self.scan.rooms.push(name.clone());
            }
            path.push(name);
            self.scan.modules.insert(path, self.is_test());
        }
        self.at += 3;
    }

    /// Reads `use` with its tree.
    fn import(&mut self) {
        let exported = self.at > 0
            && (self.word(self.at - 1) == Some("pub") || self.is_sign(self.at - 1, ')'));
        self.at += 1;
        self.at += usize::from(self.is_colons(self.at));
        self.tree(&[], exported);
    }

    /// Adds the paths of the `use` tree that begins here, and ends behind it.
    fn tree(&mut self, prefix: &[String], exported: bool) {
        let mut words = prefix.to_vec();
        let mut line = 0;
        while let Some(word) = self.word(self.at).map(str::to_owned) {
            line = self.tokens[self.at].0;
            words.push(word);
            self.at += 1;
            if !self.is_colons(self.at) {
                break;
            }
            self.at += 1;
        }
        if self.is_sign(self.at, '*') {
            self.at += 1;
            return self.add(line, words, Kind::Glob { exported });
        }
        if self.is_sign(self.at, '{') {
            self.at += 1;
            while self.at < self.tokens.len() && !self.is_sign(self.at, '}') {
                if self.word(self.at).is_some() || self.is_sign(self.at, '*') {
                    self.tree(&words, exported);
                } else {
                    self.at += 1;
                }
            }
            self.at += 1;
            return;
        }
        // `{self}` is the module itself.
        if words.len() > 1 && words.last().is_some_and(|word| word == "self") {
            words.pop();
        }
        let mut name = words.last().cloned().unwrap_or_default();
        if self.word(self.at) == Some("as") {
            name = self.word(self.at + 1).unwrap_or("_").to_owned();
            self.at += 2;
        }
        self.add(line, words, Kind::Use { name, exported });
    }

    /// Reads a path in code, or the keyword of an item.
    fn path(&mut self) {
        let began = self.at;
        self.item();
        let mut words = Vec::new();
        while let Some(word) = self.word(self.at) {
            words.push(word.to_owned());
            self.at += 1;
            if !(self.is_colons(self.at) && self.word(self.at + 1).is_some()) {
                break;
            }
            self.at += 1;
        }
        let kind = if self.names_an_item(began, &words) { Kind::Code } else { Kind::Local };
        let (line, test) = (self.tokens[self.at - 1].0, began < self.test_until);
        self.scan.paths.push(Path { line, words, inside: self.inside(), kind, test });
    }

    /// Notes the item whose keyword stands here, unless it stands inside another item.
    fn item(&mut self) {
        let is_macro = self.word(self.at) == Some("macro_rules") && self.is_sign(self.at + 1, '!');
        let keyword = self.word(self.at).is_some_and(|word| ITEMS.contains(&word));
        let name = match (is_macro, keyword) {
            (true, _) => self.word(self.at + 2),
            (_, true) => {
                self.word(self.at + 1).filter(|word| !BEGINS.contains(word) && *word != "fn")
            }
            _ => None,
        };
        let is_outermost = self.braces.iter().all(Option::is_some);
        if let Some(name) = name.map(str::to_owned)
            && is_outermost
            && !self.is_test()
        {
            self.scan.items.push((self.inside(), name));
        }
    }

    /// False for fields, methods and local names, as far as the words show it: a name of one word in
    /// small letters must be called to count.
    fn names_an_item(&self, began: usize, words: &[String]) -> bool {
        let before = |ahead: usize| began.checked_sub(ahead).map(|at| &self.tokens[at].1);
        let is_dot = |ahead| before(ahead) == Some(&Token::Sign('.'));
        if (is_dot(1) && !is_dot(2)) || before(1) == Some(&Token::Colons) {
            return false;
        }
        let is_defined = |word: &str| word == "mod" || ITEMS.contains(&word);
        if matches!(before(1), Some(Token::Word(word)) if is_defined(word)) {
            return false;
        }
        let is_called = self.is_sign(self.at, '(') || self.is_sign(self.at, '!');
        words.len() > 1 || words[0].starts_with(char::is_uppercase) || is_called
    }

    /// Whether `cfg(test)` or `cfg(all(test, ..))` stands in the attribute that begins here.
    fn is_test_attribute(&self) -> bool {
        let at = self.at + 1 + usize::from(self.is_sign(self.at + 1, '!'));
        let is_cfg = self.is_sign(at, '[') && self.word(at + 1) == Some("cfg");
        let word = self.word(at + 3);
        is_cfg && (word == Some("test") || word == Some("all") && self.word(at + 5) == Some("test"))
    }

    /// The end of the item, field, statement or arm to which the attribute here belongs, in tokens.
    fn end_of_item(&self) -> usize {
        let (mut at, mut depth) = (self.at, 0);
        // The attribute itself, those after it, and the visibility.
        while self.is_sign(at, '#') || self.word(at) == Some("pub") {
            at += 1;
            if self.is_sign(at, '[') || self.is_sign(at, '(') {
                at = self.behind_brackets(at);
            }
        }
        let begins = |word: &str| BEGINS.contains(&word) || ITEMS.contains(&word);
        let is_item = self.word(at).is_some_and(begins);
        while let Some((_, token)) = self.tokens.get(at) {
            match token {
                Token::Sign('(' | '[' | '{') => depth += 1,
                Token::Sign(')' | ']' | '}') if depth == 0 => return at,
                Token::Sign('}') if depth == 1 => return at + 1,
                Token::Sign(')' | ']' | '}') => depth -= 1,
                Token::Sign(';') if depth == 0 => return at + 1,
                Token::Sign(',') if depth == 0 && !is_item => return at + 1,
                _ => {}
            }
            at += 1;
        }
        at
    }

    /// The place behind the bracket that closes the one here.
    fn behind_brackets(&self, mut at: usize) -> usize {
        let mut depth = 0;
        while let Some((_, token)) = self.tokens.get(at) {
            at += 1;
            match token {
                Token::Sign('(' | '[') => depth += 1,
                Token::Sign(')' | ']') if depth == 1 => break,
                Token::Sign(')' | ']') => depth -= 1,
                _ => {}
            }
        }
        at
    }

    fn add(&mut self, line: usize, words: Vec<String>, kind: Kind) {
        let (inside, test) = (self.inside(), self.is_test());
        self.scan.paths.push(Path { line, words, inside, kind, test });
    }
}
