//! Output for people and scripts: standard output and its width, colours where they are welcome, and a
//! screen that is drawn anew in place.

use std::env;
use std::io::{self, IsTerminal, Write};

use rustix::termios::tcgetwinsize;

/// The columns and lines of a terminal that does not report them.
const SIZE: (usize, usize) = (80, 24);

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
const CLEAR: &str = "\x1b[2J";
const HOME: &str = "\x1b[H";
const CLEAR_LINE_END: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// A state's colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// All is well.
    Green,
    /// Look at it some time.
    Yellow,
    /// Look at it now.
    Red,
}

impl Colour {
    /// The text in this colour, where colours are welcome.
    pub fn paint(self, text: &str, welcome: bool) -> String {
        let code = match self {
            Self::Green => 32,
            Self::Yellow => 33,
            Self::Red => 31,
        };
        if welcome { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Whether standard output is a terminal that takes colours: <https://no-color.org>.
pub fn takes_colours() -> bool {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    io::stdout().is_terminal()
        && set("NO_COLOR").is_none()
        && set("TERM").is_none_or(|term| term != "dumb")
}

/// Writes to standard output, at once. False if its reader went away (`| head -1`): that is no error, it
/// had all it wanted.
///
/// # Errors
/// Errors of the device.
pub fn print(text: &str) -> io::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}

/// Writes a line for people to standard error, which may be closed.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A terminal that is drawn anew in place, without a cursor. Dropping it gives the cursor back, below the
/// last drawing.
#[derive(Debug)]
pub struct Screen(());

impl Screen {
    /// Takes the terminal of standard output; `None` if standard output is no terminal.
    pub fn take() -> Option<Self> {
        io::stdout().is_terminal().then(|| {
            let _ = print(&format!("{HIDE_CURSOR}{CLEAR}{HOME}"));
            Self(())
        })
    }

    /// Its columns and lines, now.
    pub fn size(&self) -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                (size.ws_col.into(), size.ws_row.into())
            }
            _ => SIZE,
        }
    }

    /// Draws these lines over the previous ones. None may be wider than the screen. False as for
    /// [`print()`].
    ///
    /// # Errors
    /// Errors of the device.
    pub fn draw(&self, lines: &[String]) -> io::Result<bool> {
        let (_, height) = self.size();
        // The last line stays free, or the newline before it would scroll.
        let fit = lines.len() < height;
        let shown = if fit { lines.len() } else { height.saturating_sub(2) };
        let more = (!fit).then(|| format!("... {} more lines", lines.len() - shown));
        let mut text = HOME.to_owned();
        for line in lines[..shown].iter().chain(&more) {
            text += &format!("{line}{CLEAR_LINE_END}\r\n");
        }
        print(&(text + CLEAR_BELOW))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = print(SHOW_CURSOR);
    }
}
