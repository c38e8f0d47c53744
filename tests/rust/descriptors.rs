//! Descriptors that somebody made up: what links can be used, what does not is refused, and nothing
//! of it panics.
//!
//! They come from other people's files and, by reflection, from servers. Here they are real ones
//! with a few of their fields changed. `DESCRIPTORS_SEED=7` makes the seventh set and says what
//! becomes of it, `DESCRIPTORS_SEEDS=100000` so many.
#![cfg(test)]

mod mutation;

use std::env;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use _core::schema::{MessagePool, SchemaError, compile, split_set};
use fastrand::Rng;
use mutation::mutate;
use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};

/// Sets that the suite makes.
const SEEDS: u64 = 2_000;

/// Files with every kind of declaration between them.
struct Genuine {
    /// Those of `google/protobuf/` that the others import, as a set.
    known: Vec<u8>,
    /// The others, as a set.
    own: Vec<u8>,
}

impl Genuine {
    fn all() -> Vec<Self> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let files = [
            "proto/testing.proto",
            "proto/testing_fields.proto",
            "tests/fixtures/descriptors/everything.proto",
            "tests/fixtures/descriptors/optional.proto",
        ];
        files.map(|file| Self::of(&root.join(file))).into()
    }

    fn of(path: &Path) -> Self {
        let folder = path.parent().unwrap().to_owned();
        let compiled = compile(&[path.to_owned()], &[folder], true).unwrap();
        let (known, own) = compiled
            .files
            .iter()
            .map(|file| FileDescriptorProto::decode(file.as_ref()).unwrap())
            .partition(|file| file.name().starts_with("google/"));
        Self {
            known: FileDescriptorSet { file: known }.encode_to_vec(),
            own: FileDescriptorSet { file: own }.encode_to_vec(),
        }
    }

    /// Both: sets one behind the other are a set.
    fn set(&self) -> Vec<u8> {
        [self.known.as_slice(), &self.own].concat()
    }

    /// A few changes, mostly of the own files: they are the shorter ones by far.
    fn mutated(&self, dice: &mut Rng) -> Vec<u8> {
        if dice.u8(..) < 32 {
            return mutate(&self.set(), dice);
        }
        [self.known.clone(), mutate(&self.own, dice)].concat()
    }
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

/// Does all that is ever done with descriptors.
fn use_all(set: &[u8]) -> Result<(), SchemaError> {
    let files = split_set(set)?;
    let pool = MessagePool::link(&files)?;
    for name in pool.files() {
        pool.describe(&name)?;
    }
    for (service, _) in pool.services() {
        pool.methods(&service)?;
        pool.describe(&service)?;
    }
    for file in &files {
        let file = FileDescriptorProto::decode(file.as_ref()).unwrap();
        let package = file.package().to_owned();
        for message in &file.message_type {
            use_message(&pool, &package, message);
        }
    }
    Ok(())
}

fn use_message(pool: &MessagePool, scope: &str, message: &DescriptorProto) {
    let name = format!("{scope}.{}", message.name());
    let name = name.trim_start_matches('.');
    let _ = pool.describe(name);
    for json in ["{}", r#"{"value": 1, "key": "a"}"#] {
        let _ = pool.parse_json(name, json);
    }
    for body in [
        &b""[..],
        b"\x08\x01",
        b"\x0a\x02\x08\x01",
        b"\x0a\x00\x12\x00\x1a\x00",
    ] {
        let _ = pool.to_json(name, body);
    }
    for inner in &message.nested_type {
        use_message(pool, name, inner);
    }
}

#[test]
fn made_up_descriptors_are_used_or_refused() {
    let genuine = Genuine::all();
    for each in &genuine {
        use_all(&each.set()).unwrap();
    }
    let made = |seed: u64| {
        let mut dice = Rng::with_seed(seed);
        genuine[dice.usize(..genuine.len())].mutated(&mut dice)
    };
    if let Some(seed) = number("DESCRIPTORS_SEED") {
        println!("{:?}", use_all(&made(seed)));
        return;
    }
    let (mut linked, mut refused, mut panicked) = (0, 0, Vec::new());
    for seed in 0..number("DESCRIPTORS_SEEDS").unwrap_or(SEEDS) {
        let set = made(seed);
        match catch_unwind(|| use_all(&set)) {
            Ok(Ok(())) => linked += 1,
            Ok(Err(error)) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
            Err(_) => panicked.push(seed),
        }
    }
    assert_eq!(panicked, [0; 0], "seeds of what panicked, see above");
    // Else the changes are too small or too great to find anything.
    assert!(linked > 500 && refused > 500, "{linked} {refused}");
}
