//! The floors of the house, read off the source: nobody imports upwards or in circles, and what
//! belongs on some floors only is named on no other.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Rooms under `src` and the floor each is on.
const FLOORS: [(&str, u8); 9] = [
    ("schema", 1),
    ("status", 1),
    ("wire", 2),
    ("call", 3),
    ("metrics", 4),
    ("net", 4),
    ("load", 4),
    ("python", 5),
    ("lib", 6),
];
/// Crates that are for some floors only, by the lowest of them.
const CRATES: [(&str, u8); 6] = [
    ("tokio", 4),
    ("socket2", 4),
    ("mio", 4),
    ("rustls", 4),
    ("x509_cert", 4),
    ("pyo3", 5),
];
/// The only files with code that the compiler cannot check.
const UNSAFE: [&str; 3] = ["python/enter.rs", "python/fd.rs", "python/vectorcall.rs"];

/// The code of a Rust file as words and signs, without comments and the insides of literals.
fn tokens(text: &str) -> Vec<String> {
    let text: Vec<char> = text.chars().collect();
    let at = |place: usize| text.get(place).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut place = 0;
    while place < text.len() {
        match at(place) {
            c if c.is_whitespace() => place += 1,
            '/' if at(place + 1) == '/' => {
                while place < text.len() && at(place) != '\n' {
                    place += 1;
                }
            }
            '/' if at(place + 1) == '*' => {
                let mut depth = 0;
                loop {
                    match (at(place), at(place + 1)) {
                        ('/', '*') => (depth, place) = (depth + 1, place + 2),
                        ('*', '/') => (depth, place) = (depth - 1, place + 2),
                        _ => place += 1,
                    }
                    if depth == 0 || place >= text.len() {
                        break;
                    }
                }
            }
            '"' => {
                place += 1;
                while place < text.len() && at(place) != '"' {
                    place += if at(place) == '\\' { 2 } else { 1 };
                }
                place += 1;
            }
            // A character; what else starts so is a lifetime, whose name is taken as a word.
            '\'' if at(place + 1) == '\\' => {
                place += 3;
                while place < text.len() && at(place) != '\'' {
                    place += 1;
                }
                place += 1;
            }
            '\'' if at(place + 2) == '\'' => place += 3,
            c if is_word(c) => {
                let start = place;
                while is_word(at(place)) {
                    place += 1;
                }
                let word: String = text[start..place].iter().collect();
                let hashes = text[place..].iter().take_while(|&&c| c == '#').count();
                if matches!(word.as_str(), "r" | "br" | "cr") && at(place + hashes) == '"' {
                    let end = format!("\"{}", "#".repeat(hashes));
                    let rest: String = text[place + hashes + 1..].iter().collect();
                    let inside = rest.split(&end).next().unwrap_or_default().chars().count();
                    place += hashes + 1 + inside + end.len();
                } else {
                    found.push(word);
                }
            }
            ':' if at(place + 1) == ':' => {
                found.push("::".to_owned());
                place += 2;
            }
            sign => {
                found.push(sign.to_string());
                place += 1;
            }
        }
    }
    found
}

/// The module that a file under `src` is: `net/server/mod.rs` is `[net, server]`.
fn module_of(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    if path == "lib" {
        return Vec::new();
    }
    path.split('/').map(str::to_owned).collect()
}

/// The room of a file under `src`: its first folder, or its own name.
fn room_of(path: &str) -> String {
    path.trim_end_matches(".rs")
        .split('/')
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// First words of the path, or group of paths, that goes on at `tokens` after a `::`.
fn heads(tokens: &[String]) -> Vec<&str> {
    if tokens.first().is_none_or(|token| token != "{") {
        return tokens.first().map(String::as_str).into_iter().collect();
    }
    let (mut found, mut depth, mut fresh) = (Vec::new(), 0, false);
    for token in tokens {
        match token.as_str() {
            "{" => (depth, fresh) = (depth + 1, depth == 0),
            "}" => depth -= 1,
            "," => fresh = depth == 1,
            head if fresh => {
                found.push(head);
                fresh = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

/// The rooms that a file names by `crate::…`, or by a `super::…` that leaves its own room.
fn rooms_named(path: &str, tokens: &[String]) -> BTreeSet<String> {
    let mut module = module_of(path);
    let mut braces = Vec::new();
    let mut named = BTreeSet::new();
    for (place, token) in tokens.iter().enumerate() {
        let before = |back: usize| Some(tokens.get(place.checked_sub(back)?)?.as_str());
        let starts_path = !matches!(before(1), Some("::" | "$"));
        match token.as_str() {
            "{" => {
                let is_module = before(2) == Some("mod");
                if let (true, Some(name)) = (is_module, before(1)) {
                    module.push(name.to_owned());
                }
                braces.push(is_module);
            }
            "}" if braces.pop() == Some(true) => drop(module.pop()),
            "crate" if starts_path && tokens.get(place + 1).is_some_and(|next| next == "::") => {
                named.extend(heads(&tokens[place + 2..]).into_iter().map(str::to_owned));
            }
            "super" if starts_path => {
                let mut ups = 0;
                while tokens.get(place + 2 * ups).is_some_and(|t| t == "super") {
                    ups += 1;
                }
                let kept = module.len().saturating_sub(ups);
                match module[..kept].first() {
                    Some(room) => drop(named.insert(room.clone())),
                    None => named.extend(
                        heads(&tokens[(place + 2 * ups).min(tokens.len())..])
                            .into_iter()
                            .map(str::to_owned),
                    ),
                }
            }
            _ => {}
        }
    }
    named
}

/// What is wrong with these files, given by their path under `src` and their text.
fn faults(files: &BTreeMap<String, String>) -> Vec<String> {
    let floors: BTreeMap<&str, u8> = FLOORS.into_iter().collect();
    let mut faults = Vec::new();
    let mut beside: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in files {
        let tokens = tokens(text);
        let room = room_of(path);
        let Some(&floor) = floors.get(room.as_str()) else {
            faults.push(format!("{path}: {room} is on no floor"));
            continue;
        };
        for other in rooms_named(path, &tokens) {
            match floors.get(other.as_str()) {
                None => faults.push(format!("{path}: names crate::{other}, which is no room")),
                Some(&above) if above > floor => faults.push(format!(
                    "{path}: on floor {floor}, imports {other} of floor {above}"
                )),
                Some(&same) if same == floor && other != room => {
                    beside.entry(room.clone()).or_default().insert(other);
                }
                Some(_) => {}
            }
        }
        for (name, lowest) in CRATES {
            let names_it = |token: &String| token == name || token.starts_with(&format!("{name}_"));
            if floor < lowest && tokens.iter().any(names_it) {
                faults.push(format!("{path}: on floor {floor}, names {name}"));
            }
            if name == "pyo3" && floor > lowest && tokens.iter().any(names_it) {
                faults.push(format!("{path}: names {name}, which is the border's alone"));
            }
        }
        let unchecked = |token: &String| token == "unsafe" || token == "unsafe_code";
        if !UNSAFE.contains(&path.as_str()) && tokens.iter().any(unchecked) {
            faults.push(format!("{path}: has unsafe code"));
        }
    }
    faults.extend(
        beside
            .keys()
            .filter(|room| reaches(&beside, room, room))
            .map(|room| format!("{room}: imports itself in a circle over its floor")),
    );
    faults
}

/// Whether imports over one floor lead from `from` to `to`.
fn reaches(beside: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> bool {
    let (mut open, mut seen) = (vec![from], BTreeSet::new());
    while let Some(room) = open.pop() {
        for next in beside.get(room).into_iter().flatten() {
            if next == to {
                return true;
            }
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    false
}

fn read_sources(folder: &Path, below: &str, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{below}{}", path.file_name().unwrap().to_string_lossy());
        if path.is_dir() {
            read_sources(&path, &format!("{name}/"), files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

fn sources() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    read_sources(&src, "", &mut files);
    files
}

#[test]
fn the_house_stands() {
    let sources = sources();
    assert!(sources.len() > 20, "{:?}", sources.keys());
    let faults = faults(&sources);
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_imports_that_are_there_are_seen() {
    let sources = sources();
    let named = |path: &str| rooms_named(path, &tokens(&sources[path]));
    assert!(named("net/connection.rs").is_superset(&rooms(&["call", "metrics", "status", "wire"])));
    assert!(named("call/registry.rs").is_superset(&rooms(&["schema", "wire"])));
    assert!(named("metrics/counters.rs").is_superset(&rooms(&["call", "status"])));
}

fn rooms(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// The faults of the real house with one more file in it.
fn faults_with(path: &str, text: &str) -> Vec<String> {
    let mut sources = sources();
    sources.insert(path.to_owned(), text.to_owned());
    faults(&sources)
}

#[test]
fn an_upward_import_is_found_in_every_form() {
    for text in [
        "use crate::net::Stream;",
        "use crate::{schema::Method, net::{Stream, runtime}};",
        "use crate::{\n    schema::{Method, MethodTable},\n    net,\n};",
        "pub use crate :: net :: Stream;",
        "fn f() -> crate::net::Stream { todo!() }",
        "fn f(c: char) { if c == '\"' { crate::net::start() } }",
        "const S: &str = \"\\\"\"; use crate::net::Stream;",
        "const S: &str = r#\"a \" b\"#; use crate::net::Stream;",
        "use super::super::net::Stream;",
        "mod inner { use super::super::super::net::Stream; }",
        "use super::super::{schema, net::Stream};",
    ] {
        assert_eq!(
            faults_with("wire/fake.rs", text),
            ["wire/fake.rs: on floor 2, imports net of floor 4"],
            "{text}"
        );
    }
    assert_eq!(
        faults_with("status.rs", "mod inner { use super::super::wire::Codec; }"),
        ["status.rs: on floor 1, imports wire of floor 2"]
    );
}

#[test]
fn what_is_no_import_is_none() {
    for text in [
        "// use crate::net::Stream;\n/// [`crate::net`]\nuse crate::schema::Method;",
        "/* use crate::net; /* unsafe */ tokio */ use crate::status::Code;",
        "const S: &str = \"crate::net \\\" unsafe tokio\"; const R: &str = r#\"unsafe \" pyo3\"#;",
        "fn f<'a>(text: &'a str) -> &'a str { text } pub(crate) struct Net;",
        "use crate::wire::{self, net}; use super::{Codec, net};",
        "mod tests { use super::super::Codec; use super::*; }",
        "macro_rules! m { () => { $crate::net::Stream } }",
    ] {
        assert_eq!(faults_with("wire/fake.rs", text), [""; 0], "{text}");
    }
}

#[test]
fn a_circle_over_one_floor_is_found() {
    let found = faults_with("metrics/fake.rs", "use crate::net::Stream;");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("metrics: imports itself in a circle"));
    assert!(found[1].starts_with("net: imports itself in a circle"));
    assert_eq!(
        faults_with("schema/fake.rs", "use crate::status::Code;").len(),
        0
    );
}

#[test]
fn crates_and_unsafe_code_on_the_wrong_floor_are_found() {
    for (path, text) in [
        ("call/fake.rs", "use tokio::sync::Notify;"),
        ("call/fake.rs", "fn f() { tokio::spawn(async {}); }"),
        ("wire/fake.rs", "use socket2::Socket;"),
        ("net/fake.rs", "use pyo3::prelude::*;"),
        ("net/fake.rs", "use pyo3_async_runtimes::tokio;"),
        ("lib.rs", "use pyo3::prelude::*;"),
        ("net/fake.rs", "fn f() { unsafe { g() } }"),
        ("python/channel.rs", "unsafe impl Send for X {}"),
        ("call/fake.rs", "#[allow(unsafe_code)]\nmod x {}"),
        ("attic/fake.rs", "fn f() {}"),
        ("call/fake.rs", "use crate::attic::Trunk;"),
    ] {
        assert_eq!(faults_with(path, text).len(), 1, "{path}: {text}");
    }
    for (path, text) in [
        ("net/fake.rs", "use tokio::sync::Notify;"),
        (
            "python/fake.rs",
            "use pyo3::prelude::*; use tokio::sync::Notify;",
        ),
        (
            "python/enter.rs",
            "#![allow(unsafe_code)] fn f() { unsafe { g() } }",
        ),
        ("python/fd.rs", "fn f() { unsafe { g() } }"),
    ] {
        assert_eq!(faults_with(path, text), [""; 0], "{path}: {text}");
    }
}
