//! Finds the file that defines what a path names.
//!
//! It follows modules, imports, re-exports, renames and globs. It does not know types: a method or a
//! field that is used leads nowhere, so an edge needs a path. Code under `#[cfg(test)]`, in an item,
//! in a file, or in a file below such a file, draws no edge: a test may look at everything around
//! it, and nothing that is shipped depends on it.

use std::collections::{BTreeMap, BTreeSet};

use super::scan::{Kind, LIBRARY, Path, Scan};

/// A file names an item of another one.
pub(super) struct Edge {
    pub(super) from: String,
    pub(super) line: usize,
    /// The file that defines the item.
    pub(super) to: String,
    /// The item.
    pub(super) name: String,
}

/// The end of a path.
pub(super) enum Found {
    /// To a module, by its path from the root of the library: `""` is the root.
    Module(String),
    /// To an item, or to something inside it, in the file that defines it.
    Item { file: String, name: String },
}

/// All modules of a tree of files, and the names each of them knows.
pub(super) struct Tree {
    modules: BTreeMap<String, Module>,
    /// The files that are built for tests only.
    tests: BTreeSet<String>,
}

#[derive(Default)]
struct Module {
    file: String,
    names: BTreeMap<String, Vec<Meaning>>,
    globs: Vec<Vec<String>>,
}

/// A module and a function may share a name, so a name may have several meanings.
enum Meaning {
    Module,
    Item,
    Import(Vec<String>),
}

impl Tree {
    /// Puts the files together, by their paths below `src/` without the `.rs`.
    pub(super) fn new(scans: &BTreeMap<&str, Scan>) -> Self {
        let mut tree = Self { modules: BTreeMap::new(), tests: tests(scans) };
        for (&file, scan) in scans {
            if !tree.tests.contains(file) {
                tree.add(file, scan);
            }
        }
        tree
    }

    /// Adds a file: its modules, its items, and all it imports.
    fn add(&mut self, file: &str, scan: &Scan) {
        self.module(file, &[]);
        for (path, test) in &scan.modules {
            let Some((name, inside)) = path.split_last().filter(|_| !test) else { continue };
            self.module(file, inside).note(name, Meaning::Module);
        }
        for (inside, name) in &scan.items {
            self.module(file, inside).note(name, Meaning::Item);
        }
        for path in scan.paths.iter().filter(|path| !path.test) {
            let module = self.module(file, &path.inside);
            match &path.kind {
                Kind::Use { name, .. } => module.note(name, Meaning::Import(path.words.clone())),
                Kind::Glob { .. } => module.globs.push(path.words.clone()),
                Kind::Code | Kind::Local => {}
            }
        }
    }

    /// The module of a file, or an inline module in it; the modules around it know its name.
    fn module(&mut self, file: &str, inside: &[String]) -> &mut Module {
        let mut key = key(file, &[]);
        for name in inside {
            let outer = self.modules.entry(key.clone()).or_default();
            if !outer.names.contains_key(name) {
                outer.note(name, Meaning::Module);
            }
            key = join(&key, name);
            self.modules.entry(key.clone()).or_default().file = file.to_owned();
        }
        let module = self.modules.entry(key).or_default();
        module.file = file.to_owned();
        module
    }

    /// Every edge between two files. The import of a module is none, but each later use of one of its
    /// items is. A re-export is none either: a file that uses it has an edge to the file that defines
    /// the item.
    pub(super) fn edges(&self, scans: &BTreeMap<&str, Scan>) -> Vec<Edge> {
        let mut edges = Vec::new();
        for (&from, scan) in scans {
            for path in &scan.paths {
                if from == "lib" || path.is_export() {
                    continue;
                }
                if let (Some(Found::Item { file, name }), _) = self.find(from, path)
                    && file != from
                {
                    edges.push(Edge { from: from.to_owned(), line: path.line, to: file, name });
                }
            }
        }
        edges
    }

    /// Finds where a path of a file leads, and returns the modules it names on its way too. A path
    /// in a test, or to another crate, leads nowhere.
    pub(super) fn find(&self, file: &str, path: &Path) -> (Option<Found>, Vec<String>) {
        let mut way = Vec::new();
        if path.test || matches!(path.kind, Kind::Local) || self.tests.contains(file) {
            return (None, way);
        }
        let began = key(file, &path.inside);
        let found = self.follow(&began, &path.words, false, &mut way, &mut Vec::new());
        (found, way)
    }

    /// Follows a path from a module. `as_module` is true for the path of an import whose name is
    /// followed by more words where it is used: then its last word is a module if it can be.
    fn follow(
        &self,
        from: &str,
        words: &[String],
        as_module: bool,
        way: &mut Vec<String>,
        seen: &mut Vec<(String, String, bool)>,
    ) -> Option<Found> {
        let (first, mut rest) = words.split_first()?;
        let root = if from == "main" || from.starts_with("main/") { "main" } else { "" };
        let mut found = match first.as_str() {
            "crate" => Found::Module(root.to_owned()),
            "self" => Found::Module(from.to_owned()),
            "super" => Found::Module(parent(from)?),
            "Self" => return None,
            name => match self.look_up(from, name, as_module || !rest.is_empty(), seen) {
                Some(found) => found,
                None if name == LIBRARY => Found::Module(String::new()),
                None => return None,
            },
        };
        while let (Found::Module(module), Some((name, after))) = (&found, rest.split_first()) {
            way.push(module.clone());
            let as_module = as_module || !after.is_empty();
            found = match name.as_str() {
                "super" => Found::Module(parent(module)?),
                "self" => Found::Module(module.clone()),
                name => self.look_up(module, name, as_module, seen).unwrap_or_else(|| {
                    // The module has it from a macro, or it is a mistake that the compiler reports.
                    let file = self.modules.get(module).map_or(module, |module| &module.file);
                    Found::Item { file: file.to_owned(), name: name.to_owned() }
                }),
            };
            rest = after;
        }
        if let Found::Module(module) = &found {
            way.push(module.clone());
        }
        Some(found)
    }

    /// The meaning of a name in a module: a module if one is wanted and there is one, else an item.
    fn look_up(
        &self,
        module: &str,
        name: &str,
        as_module: bool,
        seen: &mut Vec<(String, String, bool)>,
    ) -> Option<Found> {
        let step = (module.to_owned(), name.to_owned(), as_module);
        if seen.contains(&step) {
            return None;
        }
        let known = self.modules.get(module)?;
        seen.push(step);
        let mut all = Vec::new();
        for meaning in known.names.get(name).into_iter().flatten() {
            all.extend(match meaning {
                Meaning::Module => Some(Found::Module(join(module, name))),
                Meaning::Item => {
                    Some(Found::Item { file: known.file.clone(), name: name.to_owned() })
                }
                Meaning::Import(path) => {
                    self.follow(module, path, as_module, &mut Vec::new(), seen)
                }
            });
        }
        for glob in &known.globs {
            // The glob of an enum names its variants, and `use Enum::*` is an edge itself.
            if let Some(Found::Module(from)) =
                self.follow(module, glob, true, &mut Vec::new(), seen)
            {
                all.extend(self.look_up(&from, name, as_module, seen));
            }
        }
        seen.pop();
        let wanted = all.iter().position(|found| matches!(found, Found::Module(_)) == as_module);
        (!all.is_empty()).then(|| all.swap_remove(wanted.unwrap_or(0)))
    }
}

impl Module {
    fn note(&mut self, name: &str, meaning: Meaning) {
        self.names.entry(name.to_owned()).or_default().push(meaning);
    }
}

/// The files that a `#[cfg(test)] mod name;` declares, and all below them.
fn tests(scans: &BTreeMap<&str, Scan>) -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for (file, scan) in scans {
        for path in scan.modules.iter().filter(|(_, test)| **test).map(|(path, _)| path) {
            let top = key(file, path);
            let below = format!("{top}/");
            let is_below = |file: &&&str| **file == top || file.starts_with(&below);
            tests.extend(scans.keys().filter(is_below).map(|file| (*file).to_owned()));
        }
    }
    tests
}

/// The path of a module from the root of the library.
fn key(file: &str, inside: &[String]) -> String {
    let file = if file == "lib" { "" } else { file };
    inside.iter().fold(file.to_owned(), |key, name| join(&key, name))
}

fn join(module: &str, name: &str) -> String {
    if module.is_empty() { name.to_owned() } else { format!("{module}/{name}") }
}

fn parent(module: &str) -> Option<String> {
    (!module.is_empty())
        .then(|| module.rsplit_once('/').map_or("", |(parent, _)| parent).to_owned())
}
