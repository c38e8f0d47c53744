//! The registry: which services one end of a connection serves, and what a wire's name for a
//! method stands for.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};

use crate::call::Refusal;
use crate::schema::{MethodTable, ServiceSchema};
use crate::wire::Target;

/// Two services that no caller could tell apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{first} and {second} have one name to callers that leave the package out, {bare}")]
pub struct Ambiguous {
    /// The name without its package.
    pub bare: String,
    /// Full name of the one that was there first.
    pub first: String,
    /// Full name of the other.
    pub second: String,
}

/// The place of a method: of its service, and in its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Place of the service in the registry.
    pub service: usize,
    /// Place of the method in the service.
    pub method: usize,
}

/// The services that one end of a connection serves.
#[derive(Debug)]
pub struct Registry {
    services: Vec<Arc<ServiceSchema>>,
    /// Names as they come: no protocol promises UTF-8.
    by_full_name: HashMap<Vec<u8>, usize>,
    by_bare_name: HashMap<Vec<u8>, usize>,
    /// The service that wires without service names mean.
    nameless: Option<usize>,
}

fn bare(full: &str) -> &str {
    full.rsplit('.').next().unwrap_or(full)
}

impl Registry {
    /// A registry of `services`; wires that name no service mean the one at `nameless`.
    ///
    /// # Errors
    /// Two services have the same bare name.
    pub fn new(
        services: Vec<Arc<ServiceSchema>>,
        nameless: Option<usize>,
    ) -> Result<Self, Ambiguous> {
        let mut by_full_name = HashMap::new();
        let mut by_bare_name = HashMap::<Vec<u8>, usize>::new();
        for (place, service) in services.iter().enumerate() {
            let full = service.methods().service();
            let other = by_bare_name.insert(bare(full).into(), place);
            if let Some(first) = other.and_then(|other| services.get(other)) {
                return Err(Ambiguous {
                    bare: bare(full).to_owned(),
                    first: first.methods().service().to_owned(),
                    second: full.to_owned(),
                });
            }
            by_full_name.insert(full.into(), place);
        }
        Ok(Self {
            services,
            by_full_name,
            by_bare_name,
            nameless,
        })
    }

    /// All services; a service's number is its place.
    #[must_use]
    pub fn services(&self) -> &[Arc<ServiceSchema>] {
        &self.services
    }

    fn table(&self, service: usize) -> Option<&MethodTable> {
        self.services.get(service).map(|service| service.methods())
    }

    /// The method that a frame calls.
    ///
    /// # Errors
    /// Nothing is served under that name or number.
    pub fn resolve(&self, target: &Target) -> Result<Place, Refusal> {
        match target {
            Target::Index(index) => self.by_index(*index),
            Target::Name { service, method } => self.by_name(service, method),
            Target::Place { service, index } => self.by_place(service, *index),
        }
    }

    fn by_index(&self, index: u32) -> Result<Place, Refusal> {
        let service = self.nameless.unwrap_or(usize::MAX);
        let table = self.table(service);
        let methods = table.map_or(0, |table| table.methods().len());
        usize::try_from(index)
            .ok()
            .filter(|&method| method < methods)
            .map(|method| Place { service, method })
            .ok_or_else(|| Refusal::Index {
                index,
                methods,
                service: table.map_or_else(String::new, |table| table.service().to_owned()),
            })
    }

    fn by_name(&self, service: &[u8], method: &[u8]) -> Result<Place, Refusal> {
        let dotted = service.contains(&b'.');
        let names = if dotted {
            &self.by_full_name
        } else {
            &self.by_bare_name
        };
        let place = names.get(service).copied();
        if let Some(service) = place {
            let table = self.table(service);
            if let Some(method) = table.and_then(|table| table.index_of(method)) {
                return Ok(Place { service, method });
            }
        }
        let escaped = |name: &[u8]| name.escape_ascii().to_string();
        let service = escaped(service);
        Err(if place.is_none() && !dotted {
            Refusal::Service { service }
        } else {
            let method = escaped(method);
            Refusal::Method { service, method }
        })
    }

    fn by_place(&self, service: &[u8], index: i32) -> Result<Place, Refusal> {
        let place = self.by_bare_name.get(service).copied().and_then(|service| {
            let method = usize::try_from(index).ok()?;
            let methods = self.table(service)?.methods().len();
            (method < methods).then_some(Place { service, method })
        });
        place.ok_or_else(|| Refusal::Method {
            service: service.escape_ascii().to_string(),
            method: index.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::method::tests::files;

    fn schema(package: &str, service: &str) -> Arc<ServiceSchema> {
        let full = format!("{package}.{service}");
        Arc::new(ServiceSchema::new(&full, files(package, service)).unwrap())
    }

    fn registry() -> Registry {
        let services = vec![schema("game", "GameService"), schema("game", "Other")];
        Registry::new(services, Some(1)).unwrap()
    }

    fn name(service: &'static str, method: &'static str) -> Target {
        Target::Name {
            service: service.as_bytes().into(),
            method: method.as_bytes().into(),
        }
    }

    #[test]
    fn full_and_bare_names_lead_to_the_same_method() {
        let registry = registry();
        let place = registry
            .resolve(&name("game.GameService", "leave"))
            .unwrap();
        assert_eq!((place.service, place.method), (0, 1));
        assert_eq!(
            registry.resolve(&name("GameService", "leave")).unwrap(),
            place
        );
    }

    #[test]
    fn an_unknown_service_without_a_dot_is_told_from_an_unknown_method() {
        let registry = registry();
        let native = |target| registry.resolve(&target).unwrap_err().status().native;
        assert_eq!(native(name("Nobody", "leave")), Some(1001));
        assert_eq!(native(name("", "")), Some(1001));
        assert_eq!(native(name("game.Nobody", "leave")), Some(1002));
        assert_eq!(native(name("GameService", "nothing")), Some(1002));
        assert_eq!(native(name("game.GameService", "")), Some(1002));
    }

    #[test]
    fn places_and_indices_are_held_against_the_table() {
        let registry = registry();
        let place = |service: &'static str, index| {
            registry.resolve(&Target::Place {
                service: service.into(),
                index,
            })
        };
        assert_eq!(place("GameService", 1).unwrap().method, 1);
        for (service, index) in [
            ("GameService", 2),
            ("GameService", -1),
            ("game.GameService", 0),
        ] {
            let refused = place(service, index).unwrap_err();
            assert_eq!(refused.status().native, Some(1002), "{service} {index}");
        }
        assert_eq!(registry.resolve(&Target::Index(0)).unwrap().service, 1);
        assert!(registry.resolve(&Target::Index(7)).is_err());
    }

    #[test]
    fn two_services_with_one_bare_name_are_named() {
        let services = vec![
            schema("game", "GameService"),
            schema("other", "GameService"),
        ];
        let error = Registry::new(services, None).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("game.GameService") && text.contains("other.GameService"),
            "{text}"
        );
    }
}
