//! Cuts Rust into words and signs, without comments and literals.
//!
//! It knows no grammar: `scan` reads items and paths from the words.

/// A piece of source text.
#[derive(PartialEq)]
pub(super) enum Token {
    /// An identifier, a keyword or a number.
    Word(String),
    /// The `::` of a path.
    Colons,
    /// Any other character.
    Sign(char),
}

/// Cuts source text into tokens, each with its line.
pub(super) fn tokens(text: &str) -> Vec<(usize, Token)> {
    Lexer { chars: text.chars().collect(), at: 0, line: 1 }.all()
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

    /// Block comments nest.
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

    /// Skips a raw string after its `r`; false where none follows, as in `r#type`.
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
            _ => {
                self.skip(1);
                self.skip_while(is_of_word);
            }
        }
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
