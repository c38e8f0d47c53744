//! The numbers of compressions, which differ between the protocols.

use bytes::Bytes;

use crate::wire::compress::Compression;
use crate::wire::{BodyFault, Payload};

/// A protocol's compressions; the number of one is its place.
#[derive(Debug)]
pub(crate) struct Compressions(pub(crate) [Compression; 4]);

impl Compressions {
    /// The compression with a number of the wire.
    pub(crate) fn kind(&self, number: i32) -> Result<Compression, BodyFault> {
        usize::try_from(number)
            .ok()
            .and_then(|place| self.0.get(place).copied())
            .ok_or(BodyFault::Compression(number))
    }

    /// A message whose compression has this number, 0 where it is absent.
    pub(crate) fn payload(&self, number: Option<i32>, bytes: Bytes) -> Result<Payload, BodyFault> {
        let compression = self.kind(number.unwrap_or(0))?;
        Ok(Payload { bytes, compression })
    }

    /// The number on the wire of a compression.
    pub(crate) fn number(&self, kind: Compression) -> i32 {
        (0..)
            .zip(self.0)
            .find(|(_, at)| *at == kind)
            .map_or(0, |(number, _)| number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_place() {
        use Compression::{Gzip, None, Snappy, Zlib};
        let numbers = Compressions([None, Gzip, Zlib, Snappy]);
        for (number, kind) in [(0, None), (1, Gzip), (2, Zlib), (3, Snappy)] {
            assert_eq!(numbers.kind(number), Ok(kind));
            assert_eq!(numbers.number(kind), number);
        }
        for number in [-1, 4, i32::MIN, i32::MAX] {
            assert_eq!(numbers.kind(number), Err(BodyFault::Compression(number)));
        }
    }
}
