//! No circle of source files: of two files at most one knows the other, by whatever detour.
//!
//! Every path is followed to the file that defines the item. A door (`pub use`) through which an item passes is not what
//! the file knows that takes the item; and a file does not know what it only lets through.

use std::collections::{BTreeMap, BTreeSet};

use crate::architecture::{code, files};

/// A module's path below the crate: `["registry", "auth"]`.
type Path = Vec<String>;

/// One name of a `use`.
struct Import {
    is_door: bool,
    path: Path,
    name: String,
}

struct Module {
    file: String,
    imports: Vec<Import>,
    /// The code without its `use` items.
    rest: String,
}

struct Modules(BTreeMap<Path, Module>);

impl Modules {
    fn of(files: &[(String, String)]) -> Self {
        let is_test = |name: &str| name.ends_with("tests.rs") || name.contains("/tests/");
        let modules = files.iter().filter(|(name, _)| !is_test(name)).map(|(file, text)| {
            let path = file.trim_end_matches(".rs").trim_end_matches("/mod").split('/');
            let path = path.filter(|part| *part != "lib").map(str::to_owned).collect();
            let (imports, rest) = imports_of(&code(text));
            (path, Module { file: file.clone(), imports, rest })
        });
        Self(modules.collect())
    }

    /// The path from the crate on of a path that is written in a module; `None`: of another crate.
    fn absolute(&self, module: &Path, path: &[String]) -> Option<Path> {
        let first = path.first()?.as_str();
        let mut base = match first {
            "crate" => return Some(path[1..].to_vec()),
            "gantry" if module[..] == ["main"] => return Some(path[1..].to_vec()),
            _ => module.clone(),
        };
        if matches!(first, "self" | "super") {
            let up = path.iter().take_while(|part| matches!(part.as_str(), "self" | "super"));
            let up: Vec<&String> = up.collect();
            base.truncate(base.len().saturating_sub(up.iter().filter(|part| **part == "super").count()));
            return Some([&base[..], &path[up.len()..]].concat());
        }
        base.push(first.to_owned());
        if self.0.contains_key(&base) {
            return Some([&module[..], path].concat());
        }
        let imports = self.0.get(module)?.imports.iter();
        let import = imports
            .filter(|import| import.name == first && import.path != path)
            .find(|import| matches!(import.path[0].as_str(), "crate" | "self" | "super"))?;
        Some([self.absolute(module, &import.path)?, path[1..].to_vec()].concat())
    }

    /// The module that defines what a path leads to.
    fn defining(&self, path: &Path) -> Option<Path> {
        let length = (0..=path.len()).rev().find(|length| self.0.contains_key(&path[..*length]))?;
        let (module, rest) = (path[..length].to_vec(), &path[length..]);
        let import = rest.first().and_then(|name| self.0[&module].imports.iter().find(|it| it.name == *name));
        match import {
            Some(import) => {
                let behind = self.absolute(&module, &import.path)?;
                self.defining(&[&behind[..], &rest[1..]].concat())
            }
            None => Some(module),
        }
    }

    /// The modules that a module knows.
    fn known_to(&self, name: &Path, module: &Module) -> BTreeSet<Path> {
        let words: BTreeSet<&str> = module.rest.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let taken = module.imports.iter().filter(|it| !it.is_door || words.contains(it.name.as_str()));
        let mut paths: Vec<Path> = taken.map(|import| import.path.clone()).collect();
        paths.extend(paths_in(&module.rest));
        let found = paths.iter().filter_map(|path| self.defining(&self.absolute(name, path)?));
        found.filter(|found| found != name).collect()
    }

    /// The files that know themselves by a detour.
    fn in_circles(&self) -> BTreeSet<&str> {
        let known: BTreeMap<&Path, BTreeSet<Path>> =
            self.0.iter().map(|(name, module)| (name, self.known_to(name, module))).collect();
        let is_in_circle = |name: &Path| {
            let (mut seen, mut next) = (BTreeSet::new(), vec![name]);
            while let Some(module) = next.pop() {
                next.extend(known[module].iter().filter(|known| seen.insert(*known)));
            }
            seen.contains(name)
        };
        let found = self.0.iter().filter(|(name, _)| is_in_circle(name));
        found.map(|(_, module)| module.file.as_str()).collect()
    }
}

/// The `use` items of some code, and the code without them.
fn imports_of(code: &str) -> (Vec<Import>, String) {
    let (mut imports, mut rest) = (Vec::new(), String::new());
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let item = line.trim_start();
        let (visibility, tree) = item.split_once("use ").unwrap_or(("no item", ""));
        if !(visibility.is_empty() || visibility.starts_with("pub") && visibility.ends_with([' ', ')'])) {
            rest.push_str(line);
            rest.push('\n');
            continue;
        }
        let mut tree = tree.to_owned();
        while !tree.ends_with(';') {
            tree.push_str(lines.next().expect("a use item that ends"));
        }
        expand(&[], tree.trim_end_matches(';'), !visibility.is_empty(), &mut imports);
    }
    (imports, rest)
}

/// The names of a tree: `a::{b, c::d as e}`.
fn expand(before: &[String], tree: &str, is_door: bool, found: &mut Vec<Import>) {
    let parts =
        |text: &str| text.split("::").map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect();
    let Some((head, branches)) = tree.split_once('{') else {
        let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias)));
        let path: Path = parts(path);
        let mut path = [before, &path[..]].concat();
        path.pop_if(|last| last == "self");
        let name = alias.map_or_else(|| path.last().cloned().unwrap_or_default(), |it| it.trim().to_owned());
        return found.push(Import { is_door, path, name });
    };
    let head: Path = parts(head);
    let before = [before, &head[..]].concat();
    let mut depth = 0;
    let branches = branches.rsplit_once('}').expect("a closed brace").0.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    for branch in branches.filter(|branch| !branch.trim().is_empty()) {
        expand(&before, branch.trim(), is_door, found);
    }
}

/// The paths of modules in code: what begins with a small letter and goes on with `::`.
fn paths_in(code: &str) -> impl Iterator<Item = Path> {
    let words = code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    let words = words.map(|word| word.trim_matches(':')).filter(|word| word.contains("::"));
    let words = words.filter(|word| word.starts_with(|c: char| c.is_lowercase()));
    words.map(|word| word.split("::").map(str::to_owned).collect())
}

fn circles(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<_> = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Modules::of(&files).in_circles().into_iter().map(str::to_owned).collect()
}

#[test]
fn circles_are_found_through_every_form_of_a_path() {
    let none: [&str; 0] = [];
    let a = ("a/mod.rs", "mod b;\nmod c;\npub use b::B;\npub use c::C;\n");
    for (b, c) in [
        ("use super::C;\n", "use crate::a::B;\n"),
        ("use super::{\n    c::{self, D as E},\n};\n", "fn f() { super::b::g(); }\n"),
        ("use super::c;\nfn f() { c::g(); }\n", "use crate::a::{E, b::B};\n"),
        ("mod d;\nuse super::C;\n", "use super::b::d::D;\nuse super::B;\n"),
    ] {
        assert_eq!(circles(&[a, ("a/b.rs", b), ("a/c.rs", c)]), ["a/b.rs", "a/c.rs"], "{b} {c}");
        assert_eq!(circles(&[a, ("a/b.rs", b), ("a/c.rs", "// use super::B;\n")]), none, "{b}");
    }
    let door = ("a/mod.rs", "mod b;\npub use b::B;\npub struct A(B);\n");
    assert_eq!(circles(&[door, ("a/b.rs", "use super::A;\n")]), ["a/b.rs", "a/mod.rs"]);
}

#[test]
fn no_files_stand_in_a_circle() {
    let files = files();
    let modules = Modules::of(&files);
    let found = modules.in_circles();
    assert!(found.is_empty(), "in a circle: {found:#?}");
}
