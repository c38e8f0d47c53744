//! `.proto` files to descriptors, in this process and without protoc.

use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;
use protox::Compiler;
use protox::file::{ChainFileResolver, GoogleFileResolver, IncludeFileResolver};

use crate::schema::set::split_set;

/// Where in a file something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// The line as it stands in the file.
    pub source: String,
}

/// Why a file was not compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct CompileError {
    /// The file as an `import` would name it; none where no file is to blame.
    pub file: Option<String>,
    /// Where, if it is about a place.
    pub place: Option<Place>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
            if let Some(place) = &self.place {
                write!(f, "{}:{}:", place.line, place.column)?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.reason)
    }
}

/// Compiled files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// Names of the files that were asked for, as an `import` would name them.
    pub names: Vec<String>,
    /// Those files and all they import, serialized, imported ones before those that import them.
    pub files: Vec<Bytes>,
}

/// Compiles `paths`, each found under one of `includes`, which are also where imports are looked
/// for; the well-known types are always found. With `comments`, the files keep where in the source
/// each of their parts stands, and the comments that are there.
///
/// # Errors
/// A file is not found or not read, lies under no include path, or is wrong; or it uses editions,
/// which this compiler does not know.
pub fn compile(
    paths: &[PathBuf],
    includes: &[PathBuf],
    comments: bool,
) -> Result<Compiled, CompileError> {
    // The well-known types that are built in go first: newer editions of these files than those
    // declare what the parser does not know yet.
    let mut resolver = ChainFileResolver::new();
    resolver.add(GoogleFileResolver::new());
    for include in includes {
        resolver.add(IncludeFileResolver::new(include.clone()));
    }
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler
        .include_imports(true)
        .include_source_info(comments)
        .open_files(paths)
        .map_err(|error| described(&error, includes))
        .map_err(|error| with_folders(error, paths, includes))?;
    let names = compiler
        .files()
        .filter(|file| !file.is_import())
        .map(|file| file.name().to_owned())
        .collect();
    let files = split_set(&compiler.encode_file_descriptor_set()).map_err(|error| plain(&error))?;
    Ok(Compiled { names, files })
}

fn plain(error: &impl ToString) -> CompileError {
    CompileError {
        file: None,
        place: None,
        reason: error.to_string(),
    }
}

fn described(error: &protox::Error, includes: &[PathBuf]) -> CompileError {
    let file = error.file().map(str::to_owned);
    let text = file.as_deref().and_then(|name| source_of(name, includes));
    let mut reason = error.to_string();
    if let Some(cause) = std::error::Error::source(error) {
        reason = format!("{reason}: {cause}");
    }
    let mut place = file
        .as_deref()
        .zip(text.as_deref())
        .and_then(|(name, text)| place_of(&format!("{error:?}"), name, text));
    if let Some((edition, at)) = text.as_deref().and_then(edition_of) {
        reason = format!(
            "edition {edition}: .proto files are compiled here as proto2 or proto3, not with \
             editions; have protoc compile this file and use the generated module"
        );
        place = Some(at);
    }
    CompileError {
        file,
        place,
        reason,
    }
}

/// Says of a file that is not found where it was looked for.
fn with_folders(error: CompileError, paths: &[PathBuf], includes: &[PathBuf]) -> CompileError {
    let told = |path: &&PathBuf| error.reason.contains(&*path.to_string_lossy());
    match paths.iter().find(told) {
        Some(path) if error.file.is_none() => {
            let folders: Vec<_> = includes.iter().map(|each| each.to_string_lossy()).collect();
            let (path, folders) = (path.display(), folders.join(", "));
            CompileError {
                reason: format!("{path} was not found under {folders}"),
                ..error
            }
        }
        _ => error,
    }
}

/// The text of a file, found as the compiler finds it.
fn source_of(name: &str, includes: &[PathBuf]) -> Option<String> {
    includes
        .iter()
        .find_map(|include| std::fs::read_to_string(include.join(name)).ok())
}

/// The place of an error in `text`. Of all that protox offers, only its debug form names the place
/// for every kind of error, as `name:line:column: reason`.
fn place_of(debug: &str, name: &str, text: &str) -> Option<Place> {
    let rest = debug.strip_prefix(name)?.trim_start_matches(':');
    let mut numbers = rest.splitn(3, ':').map(str::parse::<usize>);
    let (line, byte) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    let source = text.lines().nth(line.checked_sub(1)?)?;
    let before = source.as_bytes().get(..byte.checked_sub(1)?)?;
    Some(Place {
        line,
        column: String::from_utf8_lossy(before).chars().count() + 1,
        source: source.to_owned(),
    })
}

/// The edition that a file declares, and where. The parser stumbles over the word itself, and its
/// complaint would not say what is meant.
fn edition_of(text: &str) -> Option<(String, Place)> {
    let (number, line, value) = text.lines().enumerate().find_map(|(number, line)| {
        let value = line.trim_start().strip_prefix("edition")?.trim_start();
        let value = value.strip_prefix('=')?.trim_start();
        Some((number, line, value.strip_prefix(['"', '\''])?))
    })?;
    let edition: String = value
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect();
    let place = Place {
        line: number + 1,
        column: line.chars().take_while(|c| c.is_whitespace()).count() + 1,
        source: line.to_owned(),
    };
    Some((edition, place))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::{CompileError, compile};

    /// A folder with files, gone when the test has ended.
    struct Folder(PathBuf);

    impl Folder {
        fn with(name: &str, files: &[(&str, &str)]) -> Self {
            let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            for (file, text) in files {
                fs::write(path.join(file), text).unwrap();
            }
            Self(path)
        }

        fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn refused(name: &str, text: &str) -> CompileError {
        let folder = Folder::with(name, &[("a.proto", text)]);
        let path = folder.path().to_owned();
        compile(&[path.join("a.proto")], &[path], false).unwrap_err()
    }

    #[test]
    fn imports_come_first() {
        let folder = Folder::with(
            "compile-imports",
            &[
                (
                    "a.proto",
                    "import 'b.proto'; message A { optional B b = 1; }",
                ),
                ("b.proto", "message B {}"),
            ],
        );
        let path = folder.path().to_owned();
        let compiled = compile(&[path.join("a.proto")], &[path], false).unwrap();
        assert_eq!(compiled.names, ["a.proto"]);
        assert_eq!(compiled.files.len(), 2);
        assert!(compiled.files[0].starts_with(b"\n\x07b.proto"));
    }

    #[test]
    fn an_error_has_its_place() {
        let error = refused(
            "compile-place",
            "syntax = \"proto3\";\n/* \u{e4} */ message A { B b = 1; }",
        );
        assert_eq!(error.to_string(), "a.proto:2:21: name 'B' is not defined");
        assert!(error.place.unwrap().source.ends_with("B b = 1; }"));
        let error = refused(
            "compile-token",
            "syntax = \"proto3\";\nmessage A {\n  int32 a 1;\n}\n",
        );
        assert!(
            error.to_string().starts_with("a.proto:3:11: expected"),
            "{error}"
        );
        let error = refused("compile-import", "import \"nowhere.proto\";\n");
        assert_eq!(
            error.to_string(),
            "a.proto:1:1: import 'nowhere.proto' not found"
        );
    }

    #[test]
    fn editions_are_refused_by_name() {
        let error = refused(
            "compile-edition",
            "// new\nedition = \"2023\";\nmessage A {}\n",
        );
        assert!(
            error.to_string().starts_with("a.proto:2:1: edition 2023:"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let nowhere = PathBuf::from("nowhere.proto");
        let error = compile(&[nowhere], &[PathBuf::from("/")], false).unwrap_err();
        assert!(error.reason.contains("nowhere.proto"), "{error}");
    }
}
