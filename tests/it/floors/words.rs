//! Just enough Rust to see which paths a file names: words and `::`, without comments and literals.

use std::collections::BTreeSet;

/// What a file names.
pub(super) struct Scan {
    /// Every path, `use` trees unfolded, with the line of its last word.
    pub(super) paths: Vec<(usize, Vec<String>)>,
    /// The top-level modules it imports from, however they are written.
    pub(super) imports: Vec<(usize, String)>,
    /// The modules it declares as files.
    pub(super) modules: BTreeSet<String>,
}

/// Reads a file; its path below `src/` tells what `super` means in it.
pub(super) fn scan(text: &str, file: &str) -> Scan {
    let tokens = Lexer { chars: text.chars().collect(), at: 0, line: 1 }.all();
    let mut scan = Scan { paths: Vec::new(), imports: Vec::new(), modules: BTreeSet::new() };
    // What each open brace is: true where it begins a module.
    let mut braces = Vec::new();
    let mut at = 0;
    while let Some((_, token)) = tokens.get(at) {
        match (token, tokens.get(at + 1), tokens.get(at + 2)) {
            (Token::Word(word), Some((_, Token::Word(name))), Some((_, Token::Sign(sign))))
                if word == "mod" =>
            {
                match sign {
                    '{' => braces.push(true),
                    _ => drop(scan.modules.insert(name.clone())),
                }
                at += 3;
            }
            (Token::Word(_), ..) => {
                let first = scan.paths.len();
                at = unfold(&tokens, at, &[], &mut scan.paths);
                let depth = file.split('/').count() + braces.iter().filter(|b| **b).count();
                let imports = scan.paths[first..].iter().filter_map(|(line, path)| {
                    Some((*line, from_the_root(path, depth)?.to_owned()))
                });
                scan.imports.extend(imports);
            }
            (Token::Sign('{'), ..) => {
                braces.push(false);
                at += 1;
            }
            (Token::Sign('}'), ..) => {
                braces.pop();
                at += 1;
            }
            _ => at += 1,
        }
    }
    scan
}

/// The top-level module a path leads to by `crate` or by so many `super` as there are levels.
fn from_the_root(path: &[String], depth: usize) -> Option<&str> {
    let path = path.strip_prefix(&["self".to_owned()]).unwrap_or(path);
    let up = path.iter().take_while(|word| *word == "super").count();
    let rest = match path.first()?.as_str() {
        "crate" => &path[1..],
        "super" if up == depth => &path[up..],
        _ => return None,
    };
    rest.first().map(String::as_str)
}

/// Adds the paths of the tree that begins at a word; gives where it ends.
fn unfold(
    tokens: &[(usize, Token)],
    mut at: usize,
    prefix: &[String],
    paths: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let mut path = prefix.to_vec();
    let mut line = 0;
    while let Some((word_line, Token::Word(word))) = tokens.get(at) {
        line = *word_line;
        path.push(word.clone());
        at += 1;
        if tokens.get(at).is_none_or(|(_, token)| *token != Token::Colons) {
            break;
        }
        match tokens.get(at + 1) {
            Some((_, Token::Word(_))) => at += 1,
            Some((_, Token::Sign('{'))) => return unfold_group(tokens, at + 2, &path, paths),
            _ => break,
        }
    }
    // `{self}` is the module itself.
    if path.len() > 1 && path.last().is_some_and(|word| word == "self") {
        path.pop();
    }
    paths.push((line, path));
    at
}

fn unfold_group(
    tokens: &[(usize, Token)],
    mut at: usize,
    prefix: &[String],
    paths: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    loop {
        match tokens.get(at).map(|(_, token)| token) {
            Some(Token::Word(word)) if word == "as" => at += 2,
            Some(Token::Word(_)) => at = unfold(tokens, at, prefix, paths),
            Some(Token::Sign('}')) | None => return at + 1,
            Some(_) => at += 1,
        }
    }
}

#[derive(PartialEq)]
enum Token {
    Word(String),
    Colons,
    Sign(char),
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
}

impl Lexer {
    fn all(mut self) -> Vec<(usize, Token)> {
        let mut tokens = Vec::new();
        while let Some(c) = self.peek(0) {
            match (c, self.peek(1)) {
                ('/', Some('/')) => self.skip_while(|c| c != '\n'),
                ('/', Some('*')) => self.skip_block_comment(),
                ('"', _) => self.skip_string(),
                ('\'', _) => self.skip_char_or_lifetime(),
                (':', Some(':')) => {
                    tokens.push((self.line, Token::Colons));
                    self.skip(2);
                }
                _ if is_of_word(c) => {
                    let line = self.line;
                    let word = self.word();
                    if !(word.ends_with('r') && word.len() <= 2 && self.skip_raw_string()) {
                        tokens.push((line, Token::Word(word)));
                    }
                }
                _ => {
                    if !c.is_whitespace() {
                        tokens.push((self.line, Token::Sign(c)));
                    }
                    self.skip(1);
                }
            }
        }
        tokens
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.line += usize::from(self.peek(0) == Some('\n'));
            self.at += 1;
        }
    }

    fn skip_while(&mut self, goes_on: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&goes_on) {
            self.skip(1);
        }
    }

    fn word(&mut self) -> String {
        let began = self.at;
        self.skip_while(is_of_word);
        self.chars[began..self.at].iter().collect()
    }

    /// They nest.
    fn skip_block_comment(&mut self) {
        let mut depth = 0;
        while let Some(c) = self.peek(0) {
            match (c, self.peek(1)) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => {
                    self.skip(1);
                    continue;
                }
            }
            self.skip(2);
            if depth == 0 {
                return;
            }
        }
    }

    fn skip_string(&mut self) {
        self.skip(1);
        while let Some(c) = self.peek(0) {
            self.skip(if c == '\\' { 2 } else { 1 });
            if c == '"' {
                return;
            }
        }
    }

    /// After an `r`: false where no raw string follows, as in `r#type`.
    fn skip_raw_string(&mut self) -> bool {
        let hashes = (0..).take_while(|n| self.peek(*n) == Some('#')).count();
        if self.peek(hashes) != Some('"') {
            return false;
        }
        self.skip(hashes + 1);
        while let Some(c) = self.peek(0) {
            self.skip(1);
            if c == '"' && (0..hashes).all(|n| self.peek(n) == Some('#')) {
                self.skip(hashes);
                break;
            }
        }
        true
    }

    fn skip_char_or_lifetime(&mut self) {
        match (self.peek(1), self.peek(2)) {
            (Some('\\'), _) => {
                self.skip(3);
                self.skip_while(|c| c != '\'');
                self.skip(1);
            }
            (_, Some('\'')) => self.skip(3),
            _ => self.skip(1),
        }
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
