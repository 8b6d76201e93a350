//! The file of the command's program, found and checked before the node serves.

use std::env;
use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::web::unusable::Unusable;

/// Looks for the file of a program as execvp(3) does.
///
/// # Errors
/// No such file may be executed.
pub(super) fn find(program: &str) -> Result<(), Unusable> {
    let path = env::var_os("PATH").unwrap_or_default();
    let files: Vec<_> = match program {
        "" => Vec::new(),
        path if path.contains('/') => vec![PathBuf::from(path)],
        name => env::split_paths(&path).map(|folder| folder.join(name)).collect(),
    };
    let found: Vec<_> =
        files.iter().filter_map(|file| Some((file, file.metadata().ok()?))).collect();
    let is_program = |file: &Metadata| file.is_file() && file.permissions().mode() & 0o111 != 0;
    if found.iter().any(|(_, file)| is_program(file)) {
        return Ok(());
    }
    let is_file = |(_, file): &&(&PathBuf, Metadata)| file.is_file();
    Err(Unusable(match (found.iter().find(is_file), found.first()) {
        (Some((file, _)), _) => format!(
            "{file:?} may not be executed: allow it with `chmod +x {}`, or write what runs it before it, \
             for example -- sh {program}",
            file.display()
        ),
        (None, Some((folder, _))) => {
            format!("{folder:?} is a folder, no program: write the whole path of the program in it")
        }
        (None, None) => format!(
            "there is no program {program:?} that could be run: check the spelling, install it, or \
             write its whole path"
        ),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_as_by_a_shell_or_the_error_has_the_fix() {
        assert!(find("sh").is_ok() && find("/bin/sh").is_ok());
        for (program, words) in [
            ("no-such-program", "there is no program \"no-such-program\""),
            ("", "there is no program"),
            ("/no/such/program", "there is no program"),
            ("/", "is a folder"),
            ("/etc/passwd", "may not be executed: allow it with `chmod +x /etc/passwd`"),
        ] {
            let error = find(program).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
