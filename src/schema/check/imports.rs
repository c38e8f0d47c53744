//! Public imports that have no end, or too many ways to it.

use foldhash::{HashMap, HashSet};
use prost_types::FileDescriptorProto;

/// Ways that lead from a file over public imports: the pool goes them all, one inside the other.
const MOST_WAYS: usize = 10_000;

/// The name of a file from which public imports lead back to it, or in very many ways elsewhere.
pub(super) fn entangled(files: &[FileDescriptorProto]) -> Option<&str> {
    let mut places = HashMap::default();
    for (place, file) in files.iter().enumerate() {
        // Two of one name are refused by the pool.
        places.entry(file.name()).or_insert(place);
    }
    let mut importers: Vec<Vec<usize>> = vec![Vec::new(); files.len()];
    let mut left = vec![0_usize; files.len()];
    for (place, file) in files.iter().enumerate() {
        let public: HashSet<_> = file.public_dependency.iter().collect();
        for (number, name) in (0_i32..).zip(&file.dependency) {
            let imported = places
                .get(name.as_str())
                .and_then(|at| importers.get_mut(*at));
            if let (true, Some(importers)) = (public.contains(&number), imported) {
                importers.push(place);
                *left.get_mut(place)? += 1;
            }
        }
    }
    // From the files that import nothing to those that import them: what is in a circle stays.
    let mut ways = vec![1_usize; files.len()];
    let mut free: Vec<_> = (0..files.len())
        .filter(|at| left.get(*at) == Some(&0))
        .collect();
    while let Some(at) = free.pop() {
        let of_it = *ways.get(at)?;
        for &importer in importers.get(at)? {
            let (ways, left) = (ways.get_mut(importer)?, left.get_mut(importer)?);
            *ways = ways.saturating_add(of_it);
            *left -= 1;
            if *left == 0 {
                free.push(importer);
            }
        }
    }
    let mut all = files.iter().zip(ways.iter().zip(&left));
    all.find(|(_, (ways, left))| **left > 0 || **ways > MOST_WAYS)
        .map(|(file, _)| file.name())
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorProto;

    use crate::schema::MessagePool;

    #[test]
    fn imports_without_end() {
        let file = |name: &str, imports: &[&str]| {
            let file = FileDescriptorProto {
                name: Some(name.to_owned()),
                dependency: imports.iter().map(|&name| name.to_owned()).collect(),
                public_dependency: (0_i32..).take(imports.len()).collect(),
                ..FileDescriptorProto::default()
            };
            file.encode_to_vec().into()
        };
        let good = [file("a", &["b", "c"]), file("b", &["c"]), file("c", &[])];
        assert!(MessagePool::link(&good).is_ok());
        for files in [
            vec![file("a", &["a", "a"])],
            vec![file("a", &["b", "c"]), file("b", &["a"]), file("c", &["a"])],
        ] {
            let text = MessagePool::link(&files).unwrap_err().to_string();
            assert!(text.contains("public imports of \"a\""), "{text}");
        }
        // Two ways from each to the next one are more than anybody can go.
        let names: Vec<_> = (0..60).map(|number| number.to_string()).collect();
        let ladder: Vec<_> = names
            .windows(2)
            .map(|pair| file(&pair[0], &[&pair[1], &pair[1]]))
            .chain([file("59", &[])])
            .collect();
        let text = MessagePool::link(&ladder).unwrap_err().to_string();
        assert!(text.contains("too many ways"), "{text}");
        let names: Vec<_> = (0..20_000).map(|number| number.to_string()).collect();
        let chain: Vec<_> = names
            .windows(2)
            .map(|pair| file(&pair[0], &[&pair[1]]))
            .collect();
        assert!(MessagePool::link(&chain).is_err());
    }
}
