//! The cases in `tests/corpus/*.http`. Its README.md describes the format.

use std::path::Path;
use std::{fs, iter};

/// The client's request in cases about the answer.
const PLAIN_GET: &[u8] = b"GET / HTTP/1.1\r\nHost: pi\r\n\r\n";

/// One exchange and its expected outcome.
#[derive(Debug, Default)]
pub(crate) struct Case {
    /// The file's name and the id: `chunked/size-with-sign`.
    pub(crate) name: String,
    /// The origin of the case, and the reason for the verdict.
    pub(crate) source: String,
    /// The bytes of the client.
    pub(crate) sent: Vec<u8>,
    /// The bytes with which the node answers each request, instead of the usual `ok`. Then it ends
    /// its side.
    pub(crate) node_answer: Option<Vec<u8>>,
    /// The bytes that arrive at the node, without the balancer's own fields.
    pub(crate) arrives: Vec<u8>,
    /// The bytes that the client receives, where they are the subject.
    pub(crate) gets: Option<Vec<u8>>,
    /// The statuses that the client receives, including interim ones.
    pub(crate) statuses: Vec<u16>,
    /// True if the last answer says `Connection: close` and the connection then ends by itself.
    pub(crate) close: bool,
    /// True if the last request may have begun at the node and is unfinished there.
    pub(crate) unfinished: bool,
    /// True if the bytes become wrong only at their end.
    pub(crate) at_end: bool,
    /// True if the last answer ends visibly short.
    pub(crate) cut: bool,
    /// True if the node's answer is wrong: the result is a 502 if its head had not gone down, else
    /// a cut.
    pub(crate) broken: bool,
    /// True if each request is sent to a node twice, because the first node died without a word.
    pub(crate) twice: bool,
}

/// All cases of all files, ordered by name.
pub(crate) fn all() -> Vec<Case> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let entries = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "http")).collect();
    files.sort();
    let read = |path: &Path| {
        let theme = path.file_stem().unwrap().to_str().unwrap().to_owned();
        parse(&theme, &fs::read_to_string(path).unwrap())
    };
    files.iter().flat_map(|path| read(path).unwrap_or_else(|wrong| panic!("{wrong}"))).collect()
}

/// The cases of one file.
fn parse(theme: &str, text: &str) -> Result<Vec<Case>, String> {
    let mut cases: Vec<Raw> = Vec::new();
    for (at, line) in iter::zip(1.., text.lines()) {
        let wrong = |what: &str| format!("{theme}.http:{at}: {what}: {line}");
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.ends_with([' ', '\t']) || !line.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            return Err(wrong("a byte that cannot be seen; write \\s or \\xHH"));
        }
        let (mark, rest) = line.split_once(' ').ok_or_else(|| wrong("no mark"))?;
        if mark == "==" {
            cases.push(Raw::new(format!("{theme}/{rest}")));
            continue;
        }
        let case = cases.last_mut().ok_or_else(|| wrong("no case has begun"))?;
        case.line(mark, rest).map_err(|what| wrong(&what))?;
    }
    cases.into_iter().map(Raw::finish).collect()
}

/// A case during the reading of its lines.
#[derive(Default)]
struct Raw {
    case: Case,
    sent: Option<Vec<u8>>,
    arrives: Option<Vec<u8>>,
    judged: bool,
    same: bool,
}

impl Raw {
    fn new(name: String) -> Self {
        Self { case: Case { name, ..Case::default() }, ..Self::default() }
    }

    fn line(&mut self, mark: &str, rest: &str) -> Result<(), String> {
        let bytes = match mark {
            ":" => {
                self.case.source += rest;
                return Ok(());
            }
            "=" => return self.verdict(rest),
            ">" => &mut self.sent,
            ">>" => &mut self.arrives,
            "<<" => &mut self.case.node_answer,
            "<" => &mut self.case.gets,
            _ => return Err("an unknown mark".to_owned()),
        };
        unescape(rest, bytes.get_or_insert_default())
    }

    fn verdict(&mut self, words: &str) -> Result<(), String> {
        self.judged = true;
        let case = &mut self.case;
        for word in words.split(' ') {
            match word {
                "nothing" => {}
                "same" => self.same = true,
                "close" => case.close = true,
                "unfinished" => case.unfinished = true,
                "at-end" => case.at_end = true,
                "cut" => case.cut = true,
                "broken" => case.broken = true,
                "twice" => case.twice = true,
                status => {
                    let status = status.parse().map_err(|_| "an unknown word in the verdict")?;
                    case.statuses.push(status);
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Case, String> {
        let Self { mut case, sent, arrives, judged, same } = self;
        let wrong = |what: &str| Err(format!("{}: {what}", case.name));
        if !judged || case.source.is_empty() {
            return wrong("no verdict or no source");
        }
        if same && arrives.is_some() {
            return wrong("both `same` and `>>`");
        }
        let is_plain = sent.is_none();
        case.sent = sent.unwrap_or_else(|| PLAIN_GET.to_vec());
        case.arrives = match arrives {
            Some(bytes) => bytes,
            None if same || is_plain => case.sent.clone(),
            None => Vec::new(),
        };
        // A refusal for the client's fault ends the connection.
        let refused = matches!(case.statuses.last(), Some(400..=499 | 505 | 508));
        case.close |= refused && case.node_answer.is_none();
        Ok(case)
    }
}

/// Appends the bytes of a line: `\r
///  \t \s \\`, `\xHH`, and `\(3:ab)` for `ababab`.
fn unescape(text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    let mut rest = text;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        out.extend_from_slice(plain.as_bytes());
        let mut chars = escaped.chars();
        match chars.next() {
            Some('r') => out.push(b'\r'),
            Some('n') => out.push(b'\n'),
            Some('t') => out.push(b'\t'),
            Some('s') => out.push(b' '),
            Some('\\') => out.push(b'\\'),
            Some('x') => {
                let byte = escaped.get(1..3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
                out.push(byte.ok_or("a bad \\x")?);
                chars = escaped[3..].chars();
            }
            Some('(') => {
                let (times, behind) = escaped[1..].split_once(':').ok_or("a bad \\(")?;
                let (unit, behind) = behind.split_once(')').ok_or("a bad \\(")?;
                let mut bytes = Vec::new();
                unescape(unit, &mut bytes)?;
                out.extend(bytes.repeat(times.parse().map_err(|_| "a bad number of times")?));
                chars = behind.chars();
            }
            _ => return Err("an unknown escape".to_owned()),
        }
        rest = chars.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_can_be_written() {
        let mut out = Vec::new();
        unescape(r"a\r\n\t\s\\\x00\xff\(3:b\x41)c", &mut out).unwrap();
        assert_eq!(out, b"a\r\n\t \\\0\xffbAbAbAc");
        for bad in [r"\", r"\q", r"\x0", r"\xzz", r"\(3", r"\(x:a)"] {
            assert!(unescape(bad, &mut Vec::new()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_that_is_wrong_is_no_case() {
        let good = "== a\n: why\n> GET\n= 400\n";
        assert_eq!(parse("t", good).unwrap()[0].name, "t/a");
        for bad in [
            "> GET\n",
            "== a\n: why\n> GET\n",
            "== a\n> GET\n= 400\n",
            "== a\n: why\n> GET \n= 400\n",
            "== a\n: why\n> \u{e9}\n= 400\n",
            "== a\n: why\n> GET\n= forbidden\n",
            "== a\n: why\n> GET\n>> GET\n= 200 same\n",
        ] {
            assert!(parse("t", bad).is_err(), "{bad:?}");
        }
    }
}
