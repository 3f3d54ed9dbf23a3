//! Status lists as compressed bit strings: Bitstring Status List 1.0 (section 4.2) and its predecessor `StatusList2021`.
//!
//! Bit 0 is the left-most bit of the first byte. On the wire the bytes are gzip, then base64url; the newer form has the multibase prefix `u`.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose},
};
use flate2::{Compression, bufread::GzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};

/// Smallest list that keeps holders apart: 16 KiB (Bitstring Status List 1.0, section 6.1).
pub const MIN_BITS: usize = 131_072;
/// Largest list accepted from outside, inflated: 2 MiB, that is 16 million credentials.
pub const MAX_BYTES: usize = 2 << 20;

/// Which of the two wire forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `BitstringStatusList`: multibase, prefix `u`.
    Bitstring,
    /// `StatusList2021`: base64url without a prefix.
    StatusList2021,
}

/// Why a text is no status list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BitstringError {
    /// Not base64url.
    #[error("an encoded status list must be base64url, after the prefix u in its multibase form")]
    Base64,
    /// Not gzip, or cut off.
    #[error("an encoded status list must be gzip data")]
    Gzip,
    /// Inflates to more than [`MAX_BYTES`].
    #[error("a status list has at most {MAX_BYTES} bytes")]
    TooLarge,
    /// The index is not in the list.
    #[error("a status list index must be less than the list's length")]
    OutOfRange,
}

/// A list of bits, one per credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bitstring(Vec<u8>);

impl Bitstring {
    /// A list of at least `bits` zeroes, rounded up to whole bytes.
    #[must_use]
    pub fn zeroes(bits: usize) -> Self {
        Self(vec![0; bits.div_ceil(8)])
    }

    /// From the bytes of a stored list.
    #[must_use]
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, bit 0 first.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Number of bits.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len() * 8
    }

    /// Whether there is no bit at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bit at `index`.
    ///
    /// # Errors
    /// [`BitstringError::OutOfRange`].
    pub fn get(&self, index: usize) -> Result<bool, BitstringError> {
        let byte = self.0.get(index / 8).ok_or(BitstringError::OutOfRange)?;
        Ok(byte & mask(index) != 0)
    }

    /// Sets the bit at `index`.
    ///
    /// # Errors
    /// [`BitstringError::OutOfRange`]; nothing was changed.
    pub fn set(&mut self, index: usize, on: bool) -> Result<(), BitstringError> {
        let byte = self.0.get_mut(index / 8).ok_or(BitstringError::OutOfRange)?;
        if on {
            *byte |= mask(index);
        } else {
            *byte &= !mask(index);
        }
        Ok(())
    }

    /// The `encodedList` of a status list credential.
    #[must_use]
    pub fn encode(&self, encoding: Encoding) -> String {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        // Writing to a Vec cannot fail; an unfinished stream would be refused by every reader.
        let packed = gzip.write_all(&self.0).and_then(|()| gzip.finish()).unwrap_or_default();
        let text = general_purpose::URL_SAFE_NO_PAD.encode(packed);
        match encoding {
            Encoding::Bitstring => format!("u{text}"),
            Encoding::StatusList2021 => text,
        }
    }

    /// Reads an `encodedList`. `StatusList2021` lists are also taken with the standard alphabet or padding, as issuers disagree there.
    ///
    /// # Errors
    /// [`BitstringError`]; never inflates more than [`MAX_BYTES`].
    pub fn decode(text: &str, encoding: Encoding) -> Result<Self, BitstringError> {
        let packed = match encoding {
            Encoding::Bitstring => LENIENT_URL_SAFE.decode(text.strip_prefix('u').ok_or(BitstringError::Base64)?),
            Encoding::StatusList2021 => LENIENT_URL_SAFE.decode(text).or_else(|_| LENIENT_STANDARD.decode(text)),
        }
        .map_err(|_| BitstringError::Base64)?;
        let mut bytes = Vec::new();
        let limit = u64::try_from(MAX_BYTES + 1).unwrap_or(u64::MAX);
        GzDecoder::new(packed.as_slice()).take(limit).read_to_end(&mut bytes).map_err(|_| BitstringError::Gzip)?;
        if bytes.len() > MAX_BYTES { Err(BitstringError::TooLarge) } else { Ok(Self(bytes)) }
    }
}

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const LENIENT_URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
const LENIENT_STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

const fn mask(index: usize) -> u8 {
    0x80 >> (index % 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bit_0_is_the_left_most() {
        let mut list = Bitstring::zeroes(16);
        list.set(0, true).unwrap();
        list.set(9, true).unwrap();
        assert_eq!(list.as_bytes(), [0b1000_0000, 0b0100_0000]);
        assert_eq!((list.get(0), list.get(1), list.get(9)), (Ok(true), Ok(false), Ok(true)));
        list.set(0, false).unwrap();
        assert_eq!(list.get(0), Ok(false));
        assert_eq!(list.get(16), Err(BitstringError::OutOfRange));
        assert_eq!(list.set(16, true), Err(BitstringError::OutOfRange));
    }

    #[test]
    fn both_encodings_round_trip() {
        let mut list = Bitstring::zeroes(MIN_BITS);
        for index in [0, 7, 8, 94_567, MIN_BITS - 1] {
            list.set(index, true).unwrap();
        }
        for encoding in [Encoding::Bitstring, Encoding::StatusList2021] {
            assert_eq!(Bitstring::decode(&list.encode(encoding), encoding).as_ref(), Ok(&list));
        }
        assert!(list.encode(Encoding::Bitstring).starts_with("uH4s"));
    }

    /// The example list of the Bitstring Status List specification: 16 KiB of zeroes.
    #[test]
    fn the_specifications_example_is_read() {
        let text = "uH4sIAAAAAAAAA-3BMQEAAADCoPVPbQwfoAAAAAAAAAAAAAAAAAAAAIC3AYbSVKsAQAAA";
        let list = Bitstring::decode(text, Encoding::Bitstring).unwrap();
        assert_eq!(list, Bitstring::zeroes(MIN_BITS));
        assert_eq!(Bitstring::decode(&text[1..], Encoding::StatusList2021), Ok(list));
    }

    #[test]
    fn hostile_lists_are_refused() {
        let bomb = Bitstring::zeroes((MAX_BYTES + 1) * 8).encode(Encoding::Bitstring);
        let whole = Bitstring::zeroes(MIN_BITS).encode(Encoding::Bitstring);
        // Whole groups of four characters, so that it is the gzip stream that is cut off.
        let cut = &whole[..=(whole.len() - 1) / 4 * 4 - 8];
        let table = [
            ("", Encoding::Bitstring, BitstringError::Base64),
            ("H4sIAAAA", Encoding::Bitstring, BitstringError::Base64),
            ("u!", Encoding::Bitstring, BitstringError::Base64),
            ("uAAAA", Encoding::Bitstring, BitstringError::Gzip),
            (cut, Encoding::Bitstring, BitstringError::Gzip),
            (bomb.as_str(), Encoding::Bitstring, BitstringError::TooLarge),
            ("not base64", Encoding::StatusList2021, BitstringError::Base64),
        ];
        for (text, encoding, error) in table {
            assert_eq!(Bitstring::decode(text, encoding), Err(error), "{text:.20}");
        }
    }
}
